"""Hold the session of a file: `python hold.py SESSION_FILE`.

Ends with 0 at SIGTERM, with 3 when others ended the session or suspended its subject, and with 2 when it ended
otherwise. The session itself goes on after a SIGTERM, and so does any other process that holds it.
"""

import signal
import sys

from tenure import SessionFileError, SessionHolder


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with SessionHolder(sys.argv[1]) as session:
            print(f"holding {session.grant.session_id}", flush=True)
            end = session.wait()
    except IndexError:
        print("usage: hold.py SESSION_FILE", file=sys.stderr)
        return 1
    except SessionFileError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"the session is over: {end}", file=sys.stderr)
    return 3 if end is not None and end.is_by_others else 2


if __name__ == "__main__":
    sys.exit(main())
