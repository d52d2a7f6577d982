"""serve.py [ORDER...]: serves app.py by threads; these orders are delayed.

Prints its port, and answers each line of stdin by one line, until that ends:

    cpu      nanoseconds of CPU time of this process
    records  JSON: [order, nanoseconds around its handler by our own clock] of each request
    wait     "ok" as soon as pyusdt has registered events
    settings a JSON object: what pyusdt.configure() says when it is called with it
"""

import json
import sys
import threading
import time

import app
from werkzeug.serving import WSGIRequestHandler, make_server

records = []


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection a client
    disable_nagle_algorithm = True

    def log(self, *args):
        pass


def timed(view):
    def around(number, kind):
        before = time.perf_counter_ns()
        try:
            return view(number=number, kind=kind)
        finally:
            records.append((number, time.perf_counter_ns() - before))

    return around


def wait():
    monitoring = sys.monitoring
    while not any(monitoring.get_tool(i) and monitoring.get_events(i) for i in range(6)):
        time.sleep(0.01)
    return "ok"


def configure(words):
    import pyusdt

    return json.dumps(pyusdt.configure(**json.loads(words)))


def main(orders):
    app.delayed = frozenset(map(int, orders))
    app.app.view_functions["order"] = timed(app.app.view_functions["order"])
    server = make_server("127.0.0.1", 0, app.app, threaded=True, request_handler=Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "cpu":
            answer = time.process_time_ns()
        elif command == "records":
            answer = json.dumps(records)
        elif command == "wait":
            answer = wait()
        else:
            answer = configure(command)
        print(answer, flush=True)
    server.shutdown()


main(sys.argv[1:])
