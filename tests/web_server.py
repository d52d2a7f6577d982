"""A server of programs/web/serve.py, and clients that put it under load."""

import http.client
import json
import subprocess
import threading

KINDS = ("book", "film", "tea")


class Server:
    """`with Server(command, env=env) as server: server.load(range(100), clients=4)`."""

    def __init__(self, command: list[str], **popen):
        self.command = command
        self.popen = popen

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command,
            **self.popen,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.process.stdout.readline() or 0)
        if self.port == 0:
            raise AssertionError(f"the server did not start: {' '.join(self.command)}")
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def ask(self, line: str) -> str:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise AssertionError("the server died")
        return answer

    def load(self, orders: range, clients: int) -> None:
        """Requests all of these orders; every answer is checked."""
        numbers = iter(orders)
        lock = threading.Lock()
        wrong = []

        def client():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                while True:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    kind = KINDS[number % len(KINDS)]
                    connection.request("GET", f"/order/{number}/{kind}")
                    answer = connection.getresponse()
                    expected = {"number": number, "price": number * len(kind)}
                    if json.loads(answer.read()) != expected:
                        wrong.append(number)
            except Exception as error:
                wrong.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong[:3]
