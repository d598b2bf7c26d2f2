"""Protobuf messages by field number, so that no generated code of ours is in the way of what a test sees."""


def varint(number):
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def field(tag, value):
    if isinstance(value, str):
        value = value.encode()
    return varint(tag << 3 | 2) + varint(len(value)) + value


def fields(message):
    """The fields of a message, by number, in order."""
    found, at = {}, 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = number()
        if key & 7 == 0:
            value = number()
        elif key & 7 == 2:
            size = number()
            value = message[at : at + size]
            at += size
        else:
            size = 8 if key & 7 == 1 else 4
            value = message[at : at + size]
            at += size
        found.setdefault(key >> 3, []).append(value)
    return found
