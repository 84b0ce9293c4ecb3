/** What this machine knows of time. */
export interface Clock {
  /** The wall clock, in milliseconds since 1970. It can be set, forward and back. */
  wall(): number;
  /** Milliseconds since some fixed moment, by a clock that cannot be set. */
  elapsed(): number;
}
