"""Walks the Python stack of another process from outside, by its layout block alone.

The rules are those of src/layout.h; the table of lines is decoded as CPython's
InternalDocs/code_objects.md tells.
"""

from conftest import without_library

# pytest's interpreter may be another than those under test, and what the tests' tracers
# see must not be pytest.
without_library()
import pyusdt.layout  # noqa: E402
import pyusdt.process  # noqa: E402

NO_COLUMNS, LONG, NO_LINE = 13, 14, 15  # kinds of entries


def line_of(table, first, position):
    """The line of a code unit, by co_linetable."""
    at, unit, line = 0, 0, first

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = table[at]
            at += 1
            value |= (byte & 63) << shift
            shift += 6
            if not byte & 64:
                return value

    def signed():
        value = varint()
        return -(value >> 1) if value & 1 else value >> 1

    while at < len(table):
        kind, length = table[at] >> 3 & 15, (table[at] & 7) + 1
        at += 1
        if kind == LONG:
            line += signed()
            for _ in range(3):
                varint()
        elif kind == NO_COLUMNS:
            line += signed()
        elif 10 <= kind <= 12:
            line += kind - 10
            at += 2
        elif kind < 10:
            at += 1
        unit += length
        if unit > position:
            return None if kind == NO_LINE else line
    raise AssertionError(f"unit {position} is not in the table of lines")


class Walker:
    def __init__(self, pid):
        self.process = pyusdt.process.Process(pid)
        self.fields = pyusdt.layout.fields(self.process)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.close()

    def number(self, address, size=8, signed=False):
        return int.from_bytes(self.process.read(address, size), "little", signed=signed)

    def __getattr__(self, name):
        return self.fields[name]

    def text(self, address):
        state = self.number(address + self.str_state, 4)
        kind = (state & self.str_kind) // (self.str_kind & -self.str_kind)
        length = self.number(address + self.str_length)
        data = self.str_data_ascii if state & self.str_ascii else self.str_data
        encoding = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[kind]
        return self.process.read(address + data, length * kind).decode(encoding, "surrogatepass")

    def thread_state(self, thread_pointer):
        """By the slot."""
        assert self.slot_steps in (1, 3)
        address = thread_pointer
        for offset in self.slot_offsets[: self.slot_steps]:
            address = self.number(address + offset)
        return address

    def thread_states(self):
        """By the lists: {(interpreter's id, thread_id): state}."""
        found = {}
        interp = self.number(self.runtime + self.runtime_interpreters)
        while interp:
            number = self.number(interp + self.interp_id)
            state = self.number(interp + self.interp_threads)
            while state:
                assert self.number(state + self.thread_interp) == interp
                found[number, self.number(state + self.thread_id)] = state
                state = self.number(state + self.thread_next)
            interp = self.number(interp + self.interp_next)
        return found

    def stack(self, state):
        """[(qualname, file, line), ...], the innermost first."""
        found = []
        frame = self.number(state + self.thread_frame)
        if self.thread_frame_2 != -1:
            frame = self.number(frame + self.thread_frame_2)
        owner = None
        while frame:
            owner = self.number(frame + self.frame_owner, 1)
            if owner < self.owner_interpreter:
                found += self.function(frame, owner)
            frame = self.number(frame + self.frame_previous)
        assert owner is None or owner >= self.owner_interpreter
        return found

    def first_local(self, state):
        """The text of the current function's first local variable, a str."""
        frame = self.number(state + self.thread_frame)
        if self.thread_frame_2 != -1:
            frame = self.number(frame + self.thread_frame_2)
        return self.text(self.number(frame + self.frame_locals) & self.reference_mask)

    def function(self, frame, owner):
        code = self.number(frame + self.frame_code) & self.reference_mask
        start = code + self.code_bytecode
        if self.frame_copy != -1 and (copy := self.number(frame + self.frame_copy, 4, True)):
            copies = self.number(code + self.code_copies)
            start = self.number(copies + self.copies_entries + 8 * copy)
        position = self.number(frame + self.frame_instruction) - start
        begins = 2 * self.number(code + self.code_first_traceable, 4)
        if owner != self.owner_generator and position < begins:
            return []
        table = self.number(code + self.code_linetable)
        size = self.number(table + self.bytes_size)
        line = line_of(
            self.process.read(table + self.bytes_data, size),
            self.number(code + self.code_first_line, 4),
            position // 2,
        )
        assert self.number(code + self.code_version, 4) >= 0
        qualname = self.text(self.number(code + self.code_qualname))
        assert qualname.endswith(self.text(self.number(code + self.code_name)))
        return [[qualname, self.text(self.number(code + self.code_filename)), line]]
