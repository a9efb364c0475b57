// The time that chips took, without the time in which nothing was under way.

export class Pace {
  #began = 0;
  #ended = 0;
  #chips = 0;

  /** A run begins: nothing was under way. Chips that come while others are belong to the same run. */
  start() {
    this.#began = performance.now();
    this.#ended = this.#began;
    this.#chips = 0;
  }

  /** A chip has its answer. */
  answered() {
    this.#ended = performance.now();
    this.#chips += 1;
  }

  /** [name, figure, kind] of the last run's seconds and chips per second, if it has any chips. */
  tiles() {
    if (this.#chips === 0) return [];
    const seconds = (this.#ended - this.#began) / 1000;
    const rate = this.#chips / Math.max(seconds, 0.001);
    return [["seconds", seconds.toFixed(1), "time"], ["chips/s", rate.toFixed(rate < 10 ? 1 : 0), "time"]];
  }
}
