"""Divides the instructions in a file of callgrind's among the stages of a request.

An instruction belongs to the stage of the source file that it comes from, code that was inlined included. What serves
every stage (the standard library, the allocator, the ciphers) belongs to the stage that called it: where it was inlined,
to the stage of which the function has most.
"""

import collections
import re

# The first pattern that is found in the path of a source file decides. None: the stage of the caller.
STAGES = [
    (r"tokens/|token_cache|/quick_cache|/rusty_paseto-|/siphasher-", "token open"),
    (r"src/log/codec|/minicbor|src/log/encod", "encode"),
    (r"src/audit/|merkle", "tree"),
    (r"src/log/|/sled-|/crc32fast|/fs2", "store"),
    (r"authority/(published|contested|suspended|activity|idempotency|health)|projections/|notify/", "publish"),
    (r"http/(reply|renew|introspect|session_view)|/serde_json|/itoa|/zmij|/ryu|protocol/wire|/serde|/jiff", "reply"),
    (r"src/server/(http|serve|admission|gate|console)|/hyper|/httparse|/axum|/http-|/http-body|/tower|/matchit"
     r"|/tokio-io-timeout|/tokio-[^/]*/src/(io|net)/|/mio-|/bytes-|/percent|/form_url|/tracing|/prometheus", "HTTP"),
    (r"/tokio-[^/]*/src/time/", "timers"),
    (r"/tokio-|/parking_lot|/futures|/lock_api|command_queue|authority/request", "tasks and wake-ups"),
    (r"src/core/|src/server/authority/|src/protocol/(entropy|clock)|/uuid|/rand|/getrandom", "decide"),
]
ORDER = [
    "HTTP", "token open", "timers", "tasks and wake-ups", "decide", "encode", "hash", "tree", "store", "publish",
    "seal", "reply", "rest",
]
PATTERNS = [(re.compile(pattern), stage) for pattern, stage in STAGES]


def stage_of(path, function):
    """The stage of code; none when that is the stage of its caller."""
    if re.search(r"TokenSealer::seal|paseto::seal|Paseto<.*>::try_encrypt", function):
        return "seal"
    return next((stage for pattern, stage in PATTERNS if pattern.search(path)), None)


class Counts:
    """What a file of callgrind's says."""

    def __init__(self, path):
        self.names = {}
        # By function and file: instructions. By caller, file of the call, and callee: instructions.
        self.own, self.calls = collections.Counter(), collections.Counter()
        with open(path, encoding="utf-8", errors="replace") as lines:
            self.read(lines)

    def name(self, kind, text):
        """A name, which is written out once and a number from then on."""
        number, _, name = text.partition(" ")
        if name:
            self.names[kind, number] = name
        return self.names.get((kind, number), number)

    def read(self, lines):
        """Reads all records."""
        function = file = callee = None
        is_call = False
        for line in lines:
            key, equals, rest = line.rstrip("\n").partition("=")
            if equals and key == "fn":
                function = self.name("fn", rest)
            elif equals and key in ("fl", "fi", "fe"):
                file = self.name("fl", rest)
            elif equals and key == "cfn":
                callee = self.name("fn", rest)
            elif equals and key in ("cfl", "cfi"):
                self.name("fl", rest)
            elif equals and key in ("ob", "cob"):
                self.name("ob", rest)
            elif equals and key == "calls":
                is_call = True
            elif function and line[:1] in "0123456789+-*":
                cost = int(line.split()[1])
                if is_call:
                    self.calls[function, file, callee] += cost
                else:
                    self.own[function, file] += cost
                is_call = False


def of_functions(path, patterns):
    """The instructions of functions and of all that they call; each pattern must be found, and its functions not in
    one another."""
    counts = Counts(path)
    inclusive = collections.Counter()
    for (function, _), cost in counts.own.items():
        inclusive[function] += cost
    for (function, _, callee), cost in counts.calls.items():
        inclusive[function] += cost if function != callee else 0
    costs = [[cost for name, cost in inclusive.items() if re.search(pattern, name)] for pattern in patterns]
    missing = [pattern for pattern, found in zip(patterns, costs) if not found]
    if missing:
        raise LookupError(f"no function is called {' or '.join(missing)}")
    return sum(max(found) for found in costs)


def homes(counts):
    """For each function with code of a stage, the stage of which it has most."""
    sums = collections.defaultdict(collections.Counter)
    for (function, file), cost in counts.own.items():
        stage = stage_of(file, function)
        if stage:
            sums[function][stage] += cost
    return {function: stages.most_common(1)[0][0] for function, stages in sums.items()}


def shares(counts, home):
    """For each function, what part of its cost is of which stage, as far as its callers decide."""
    callers = collections.defaultdict(list)
    for (caller, file, callee), cost in counts.calls.items():
        if caller != callee:
            callers[callee].append((caller, stage_of(file, caller) or home.get(caller), cost))
    shares = collections.defaultdict(lambda: {"rest": 1.0})
    for _ in range(40):
        shares = collections.defaultdict(
            lambda: {"rest": 1.0}, {name: inherited(known, shares) for name, known in callers.items()}
        )
    return shares


def inherited(callers, shares):
    """The stages of a function's callers, by what each spends on it."""
    sums = collections.Counter()
    for caller, stage, cost in callers:
        for name, part in ({stage: 1.0} if stage else shares[caller]).items():
            sums[name] += part * cost
    whole = sum(sums.values()) or 1
    return {name: part / whole for name, part in sums.items()}


def divided(counts):
    """Instructions by stage, and by stage and function."""
    by_stage, details = collections.Counter(), collections.Counter()
    home = homes(counts)
    inherited_by = shares(counts, home)
    for (function, file), cost in counts.own.items():
        stage = stage_of(file, function) or home.get(function)
        for name, part in ({stage: 1.0} if stage else inherited_by[function]).items():
            if name == "encode" and "blake3" in file + function:
                name = "hash"
            by_stage[name] += part * cost
            details[name, function, file] += part * cost
    return by_stage, details


def report(path, times, detailed=0):
    """Prints what each of so many requests spends on each stage."""
    by_stage, details = divided(Counts(path))
    print(f"  {'STAGE':<20} {'INSTRUCTIONS':>12}")
    for name in ORDER:
        if by_stage[name]:
            print(f"  {name:<20} {by_stage[name] / times:>12,.0f}")
        mine = [(cost, function, file) for (stage, function, file), cost in details.items() if stage == name]
        for cost, function, file in sorted(mine, reverse=True)[:detailed]:
            print(f"      {cost / times:>9,.0f}  {function[:90]}  {'/'.join(file.split('/')[-3:])}")
    print(f"  {'together':<20} {sum(by_stage.values()) / times:>12,.0f}")
