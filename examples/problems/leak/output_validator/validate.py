"""Play the plumber. Exit code 42: the leak was found, 43: it was not."""

import sys

ACCEPTED, WRONG, QUESTIONS = 42, 43, 31


def end(code, why):
    with open(sys.argv[3] + "judgemessage.txt", "w") as file:
        file.write(why + "\n")
    sys.exit(code)


with open(sys.argv[1]) as file:
    n, leak = map(int, file.read().split())
print(n, flush=True)
asked = 0
while True:
    words = sys.stdin.buffer.readline(100).split()
    if len(words) != 2 or words[0] not in (b"shut", b"leak") or not words[1].isdigit() or len(words[1]) > 10:
        end(WRONG, "neither a question nor an answer")
    metre = int(words[1])
    if words[0] == b"leak":
        end(ACCEPTED if metre == leak else WRONG, f"said {metre} after {asked} questions, it is {leak}")
    asked += 1
    if asked > QUESTIONS:
        end(WRONG, f"more than {QUESTIONS} questions")
    print("leaks" if leak <= metre else "dry", flush=True)
