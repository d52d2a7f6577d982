"""pyusdt completion: completions of the command line for bash and zsh.

Made from the parser.
"""

import argparse
import shlex

from . import options

EXAMPLES = """\
examples:
  pyusdt completion bash > /etc/bash_completion.d/pyusdt
  pyusdt completion zsh > /usr/share/zsh/site-functions/_pyusdt
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "completion",
        help="print the completions for a shell",
        description="Print the completions of the command line for bash or zsh.",
        epilog=EXAMPLES,
        formatter_class=options.Formatter,
    )
    parser.add_argument("shell", choices=("bash", "zsh"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from . import parser

    built = parser.build()
    make = bash if args.shell == "bash" else zsh
    print(make(parser.subparsers(built), parser.summaries(built)), end="")
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings]


def bash(parsers: dict[str, argparse.ArgumentParser], summaries: dict[str, str]) -> str:
    cases = []
    for name, parser in parsers.items():
        words = [word for action in _actions(parser) for word in action.option_strings]
        if name == "completion":
            words = ["bash", "zsh"]
        cases.append(f"        {name}) words={shlex.quote(' '.join(words))} ;;\n")
    return f"""\
# bash completion of pyusdt; made by `pyusdt completion bash`
_pyusdt() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} words i
    COMPREPLY=()
    for ((i = 2; i < COMP_CWORD; i++)); do
        if [[ ${{COMP_WORDS[i]}} == -- ]]; then
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
        fi
    done
    case $prev in
        -f | --format) words='{" ".join(options.FORMATS)}' ;;
        -p | --pid) words=$(pyusdt ps -f csv 2>/dev/null | tail -n +2 | cut -d, -f1) ;;
        -o | --output | trace) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    esac
    if [[ -z ${{words:-}} && $COMP_CWORD -gt 1 ]]; then
        case ${{COMP_WORDS[1]}} in
{"".join("    " + case for case in cases)}        esac
    elif [[ -z ${{words:-}} ]]; then
        words={shlex.quote(" ".join([*summaries, "--help", "--version"]))}
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}}
complete -o filenames -F _pyusdt pyusdt
"""


def _zsh_text(text: str) -> str:
    for char in "\\[]:":
        text = text.replace(char, "\\" + char)
    return text


def _zsh_option(action: argparse.Action) -> list[str]:
    value = ""
    if action.nargs != 0:
        actions = {"--pid": "_pyusdt_pids", "--output": "_files"}
        what = f"({' '.join(map(str, action.choices))})" if action.choices else ""
        for option, function in actions.items():
            if option in action.option_strings:
                what = function
        value = f":{action.dest}:{what}"
    about = _zsh_text((action.help or "").replace("%%", "%"))
    group = f"({' '.join(action.option_strings)})"
    return [shlex.quote(f"{group}{word}[{about}]{value}") for word in action.option_strings]


def zsh(parsers: dict[str, argparse.ArgumentParser], summaries: dict[str, str]) -> str:
    names = "".join(
        f"        {shlex.quote(name + ':' + _zsh_text(about))}\n"
        for name, about in summaries.items()
    )
    cases = []
    for name, parser in parsers.items():
        words = [word for action in _actions(parser) for word in _zsh_option(action)]
        rest = {"completion": "'1:shell:(bash zsh)'", "trace": "'1:script:_files'"}.get(name, "")
        lines = " \\\n                ".join([*words, rest] if rest else words)
        cases.append(f"        {name})\n            _arguments \\\n                {lines} ;;\n")
    return f"""\
#compdef pyusdt
# zsh completion of pyusdt; made by `pyusdt completion zsh`
_pyusdt_pids() {{
    local -a pids
    pids=(${{(f)"$(pyusdt ps -f csv 2>/dev/null | tail -n +2 | cut -d, -f1)"}})
    compadd -a pids
}}
_pyusdt() {{
    local -a commands
    commands=(
{names}    )
    if (( CURRENT == 2 )); then
        _describe 'tool or command' commands
        return
    fi
    if (( ${{words[(i)--]}} < CURRENT )); then
        _files
        return
    fi
    shift words
    (( CURRENT-- ))
    case ${{words[1]}} in
{"".join(cases)}    esac
}}
_pyusdt "$@"
"""
