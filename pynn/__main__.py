"""The command line: ``python -m pynn demo`` and ``python -m pynn info``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pynn import __version__, get_num_threads, set_num_threads


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, wanted a whole number from 1 up")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}, wanted a whole number from 0 up")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}, wanted a number from 0 up")
    return rate


def _file(text: str) -> Path:
    path = Path(text)
    # said now rather than after the training
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder, wanted a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no folder {path.parent}")
    return path


def parser() -> argparse.ArgumentParser:
    """All commands and options.

    >>> parser().parse_args(["demo", "--seed", "7"]).seed
    7
    """
    top = argparse.ArgumentParser(prog="python -m pynn", description="Dense neural networks on a CPU.")
    top.add_argument("--version", action="version", version=f"pynn {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="{demo,info}")

    text = "Learn to read handwritten digits"
    demo = commands.add_parser("demo", help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    demo.add_argument("--epochs", type=_count, default=1000, metavar="N", help="passes over the training images")
    demo.add_argument("--seed", type=_seed, default=0, metavar="N", help="fixes the held-out fifth, first weights and order")
    demo.add_argument("--hidden", type=_count, default=96, metavar="N", help="width of the hidden layer")
    demo.add_argument("--batch-size", type=_count, default=8, metavar="N", help="images in one step")
    demo.add_argument("--learning-rate", type=_rate, default=0.3, metavar="RATE", help="of gradient descent")
    demo.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of all numbers")
    demo.add_argument("--threads", type=_count, default=get_num_threads(), metavar="N", help="at most so many")
    demo.add_argument("--picture", type=_file, default="demo.png", metavar="FILE", help="where to draw costs and answers")
    demo.add_argument("--no-picture", action="store_true", help="draw nothing")

    text = "Print versions, instruction sets, threads and platform"
    info = commands.add_parser("info", help=text, description=text)
    info.add_argument("--json", action="store_true", help="as JSON")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = vars(parser().parse_args(arguments))
    if options.pop("command") == "info":
        from pynn.info import information

        facts = information()
        if options["json"]:
            print(json.dumps(facts, indent=2))
            return 0
        for name, fact in facts.items():
            print(f"{name:<17} {', '.join(fact) if isinstance(fact, list) else fact}")
        return 0

    from pynn import demo

    set_num_threads(options.pop("threads"))
    if options.pop("no_picture"):
        options["picture"] = None
    try:
        demo.main(stream=sys.stdout, **options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, ArithmeticError, MemoryError, OSError) as error:  # numbers too large, or a picture that cannot be written
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
