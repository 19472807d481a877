#!/bin/bash
# The demo from end to end; `./dev demo` starts it with a database in STELE_DSN.
#
# usage: run.sh BUILD_FOLDER PYTHON
set -euo pipefail

build=$1
python=$2
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$build/examples/demo/stele-demo" "$top/examples/demo/conversation.jsonl"

desk=$build/examples/demo/stele-demo-desk
status=0
exec 3>&2 # for the program alone: the shell's own word on the kill is told below
("$desk" talk "$top/examples/demo/conversation.jsonl" 9 2>&3; exit $?) 2>/dev/null || status=$?
[ "$status" -eq 137 ] || exit 1
echo "   the program is gone; its job is in the table, and its own for ten seconds more"
"$desk" resume 12

echo
echo "The schema grows: a column, the generator, and the field is there"
cp "$top/schema/sessions.yaml" "$work/"
sed -i '0,/      session_id: varchar(255)/s//&\n      title: text?/' "$work/sessions.yaml"
diff "$top/schema/sessions.yaml" "$work/sessions.yaml" | sed 's/^/   /' || true
PYTHONPATH=$top/codegen "$python" -m stele generate --out "$work" "$work/sessions.yaml"
echo "   generated; compiling a program that uses it"
cc -std=c11 -I"$top/runtime/include" -I"$work" -o "$work/grown" \
   "$top/examples/demo/grown.c" "$work/sessions.gen.c" \
   -L"$build/runtime" -lstele -Wl,-rpath,"$build/runtime"
"$work/grown"
echo
echo "Done. Nothing is left behind."
