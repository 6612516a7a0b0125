export interface BackoffOptions {
  /** The longest first wait, in seconds: 0.2 unless given. */
  initialSeconds?: number | undefined;
  /** The longest wait of all, in seconds: 30 unless given. */
  maximumSeconds?: number | undefined;
  /** Numbers from 0 up to 1, for tests. */
  random?: (() => number) | undefined;
}

/**
 * Waits that double up to a maximum, each shortened at random by up to a half, so that many clients
 * do not return at the same moment.
 */
export class Backoff {
  readonly #initial: number;
  readonly #maximum: number;
  readonly #random: () => number;

  constructor({
    initialSeconds = 0.2,
    maximumSeconds = 30,
    random = Math.random,
  }: BackoffOptions = {}) {
    this.#initial = initialSeconds;
    this.#maximum = maximumSeconds;
    this.#random = random;
  }

  /** The wait in seconds after this many failures in a row, 1 or more. */
  delay(failures: number): number {
    const longest = Math.min(this.#initial * 2 ** (failures - 1), this.#maximum);
    return longest * (1 - this.#random() / 2);
  }
}
