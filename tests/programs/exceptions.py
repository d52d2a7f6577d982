class Custom(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


def deep(n):
    if n == 0:
        raise Custom(42)
    return deep(n - 1)


def handled():
    try:
        deep(4)
    except Custom as error:
        return error.code
    finally:
        after()


def after():
    return None


def reraised():
    try:
        try:
            deep(1)
        except Custom as error:
            raise ValueError("again") from error
    except ValueError:
        return "caught"


def group():
    try:
        raise ExceptionGroup("many", [ValueError(1), TypeError(2)])
    except* ValueError as caught:
        kept = len(caught.exceptions)
    except* TypeError:
        kept = -1
    return kept


def loop():
    for i in range(3):
        try:
            if i % 2:
                raise KeyError(i)
        except KeyError:
            continue
    else:
        return "done"


handled()
reraised()
group()
loop()
