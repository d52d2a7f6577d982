def naïve(x):
    return "grüße " * x


def 函数():
    return "日本語"


class Ünï:
    def cødé(self):
        return "😀" * 40


def plain():
    return "\udc80 alone"


naïve(2)
naïve(50)
函数()
Ünï().cødé()
Ünï()
plain()

here = __file__.rpartition("/")[0]
code = plain.__code__
plain.__code__ = code.replace(co_name="sur\udc80rogate", co_qualname="q\udcff.sur\udc80rogate")
plain()
plain.__code__ = code.replace(co_filename=here + "/caf\udce9.py")
plain()
plain.__code__ = code.replace(co_filename=here + "/日本.py", co_name="😀")
plain()
