#!/usr/bin/env python3
"""Makes a shared library keep to itself every dynamic symbol that is not its interface.

usage: hide_symbols.py LIBRARY INTERFACE

INTERFACE is a regular expression; defined symbols whose name it does not find are withdrawn.

Why: the libraries freshet bundles carry other libraries inside (an OpenSSL, a simdjson) and export
those as well. In a process that also loads Debian's OpenSSL for libpq, either copy may then answer
calls meant for the other. A withdrawn symbol is

  * STV_HIDDEN, so that the library's own references bind inside it, whatever else is loaded, and
  * renamed (its first character becomes '.'), because link editors match names even where the
    symbol is hidden. The rest of the name stays for profilers to show.

Source: System V ABI, chapters 4 "Symbol Table" and 5 "Shared Object Dependencies".
"""
import re
import struct
import sys

SECTION = struct.Struct("<IIQQQQIIQQ")  # name type flags addr offset size link info align entsize
SYMBOL = struct.Struct("<IBBHQQ")  # name info other section value size
SHT_DYNSYM = 11
STB_LOCAL = 0
STV_HIDDEN = 2
MARK = ord(".")


def dynamic_tables(image):
    """Returns (offset, end) of the dynamic symbols and the offset of their names."""
    if image[:6] != b"\x7fELF\x02\x01":
        sys.exit("hide_symbols: not a 64-bit little-endian ELF file")
    (first,) = struct.unpack_from("<Q", image, 0x28)
    entry_bytes, count = struct.unpack_from("<HH", image, 0x3A)
    headers = [SECTION.unpack_from(image, first + i * entry_bytes) for i in range(count)]
    for header in headers:
        if header[1] == SHT_DYNSYM:
            return header[4], header[4] + header[5], headers[header[6]][4]
    sys.exit("hide_symbols: no dynamic symbols")


def withdraw(image, interface):
    """Hides in `image` what `interface` does not find. Returns how many, and how many stay."""
    begin, end, names = dynamic_tables(image)
    starts = set()  # where the names of withdrawn symbols begin
    kept = []  # (begin, end) of the names that stay
    for at in range(begin, end, SYMBOL.size):
        name, info, other, section, _, _ = SYMBOL.unpack_from(image, at)
        start = names + name
        stop = image.index(0, start)
        exported = section != 0 and info >> 4 != STB_LOCAL
        if not exported or interface.search(image[start:stop]):
            kept.append((start, stop))
        else:
            starts.add(start)
            image[at + 5] = (other & ~3) | STV_HIDDEN
    # Linkers let a name that is the tail of another share its bytes, so a mark could fall into a
    # name that must stay. It never did; if it does, the library must not be used as it is.
    for start, stop in kept:
        if any(at in starts for at in range(start, stop)):
            sys.exit(f"hide_symbols: cannot rename inside {bytes(image[start:stop])!r}")
    for start in starts:
        image[start] = MARK
    return len(starts), len(kept)


def main():
    if len(sys.argv) != 3 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    path, interface = sys.argv[1], re.compile(sys.argv[2].encode())
    with open(path, "r+b") as file:
        image = bytearray(file.read())
        withdrawn, stay = withdraw(image, interface)
        file.seek(0)
        file.write(image)
    print(f"{path}: {withdrawn} symbols withdrawn, {stay} stay")


if __name__ == "__main__":
    main()
