#!/bin/sh
# A stand-in for a coding agent: reads the task on standard input, does something small, and says what it did.
task=$(cat)
echo "Task: $task"
for step in "Looking around" "Thinking" "Writing hello.txt"; do
    echo "- $step ..."
    sleep 0.5
done
printf 'Hello! The task was:\n%s\n' "$task" >hello.txt
echo "Hello from your first agent. The note is in hello.txt."
