"""Parses scripts for PowerShell, and prints where one has no meaning: powershell_syntax.py FILE…"""

import sys
from pathlib import Path

import tree_sitter_powershell
from tree_sitter import Language, Parser


def faults(node):
    """The parts of a tree that the grammar has no place for, and those that it misses."""
    if node.type == "ERROR" or node.is_missing:
        yield node
        return
    for child in node.children:
        yield from faults(child)


def main():
    """Parses all files."""
    parser = Parser(Language(tree_sitter_powershell.language()))
    count = 0
    for name in sys.argv[1:]:
        text = Path(name).read_bytes()
        for node in faults(parser.parse(text).root_node):
            line = text[node.start_byte:node.end_byte].decode(errors="replace").split("\n")[0]
            print(f"{name}:{node.start_point[0] + 1}: {line or node.type + ' is missing'}")
            count += 1
    print(f"{len(sys.argv) - 1} scripts, {count} faults")
    sys.exit(1 if count else 0)


main()
