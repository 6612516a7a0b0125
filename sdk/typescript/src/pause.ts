/** A wait that can be ended early. */
export class Pause {
  #ended = false;
  #end: (() => void) | undefined;

  /** Returns after this many seconds, or once the pause is ended. */
  async for(seconds: number): Promise<void> {
    if (this.#ended) {
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#end = resolve;
      timer = setTimeout(resolve, seconds * 1000);
    });
    clearTimeout(timer);
  }

  /** Ends the wait that is under way, and every later one at once. */
  end(): void {
    this.#ended = true;
    this.#end?.();
  }
}
