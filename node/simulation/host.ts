/**
 * A machine of a run: it runs one process, which can die between any two things that it asks of the world, can be
 * stopped and let go on, and starts anew from what its disk kept. All that happens to the process comes in through
 * `enter`, all that it asks for goes out through `effect`.
 */

/** Thrown out of a process that dies in the middle of what it is doing. */
class Death extends Error {}

export class Host {
  private readonly onDeath: (error: unknown) => void;
  private lives = 0;
  private up = false;
  private paused = false;
  private readonly backlog: (() => void)[] = [];
  /** What the process may still ask for before it dies. */
  private effectsLeft = Infinity;

  /** @param onDeath the process died: of an armed crash, then without an error, or of one that it threw */
  constructor(onDeath: (error: unknown) => void) {
    this.onDeath = onDeath;
  }

  get isUp(): boolean {
    return this.up;
  }

  get isPaused(): boolean {
    return this.paused;
  }

  /** Which of its processes runs: answers to one that is gone are no one's. */
  get life(): number {
    return this.lives;
  }

  /** Start a process. @param effects it dies before the next but so many-th thing that it asks for */
  start(run: () => void, effects = Infinity): void {
    this.lives++;
    this.up = true;
    this.effectsLeft = effects;
    this.enter(this.lives, run);
  }

  /** Something happens to the process of `life`: nothing, if it is gone; later, if it is stopped. */
  enter(life: number, run: () => void): void {
    if (!this.up || life !== this.lives) return;
    if (this.paused) {
      this.backlog.push(run);
      return;
    }
    try {
      run();
    } catch (error) {
      this.kill();
      this.onDeath(error instanceof Death ? undefined : error);
    }
  }

  /** The process asks for something: it may die before that. */
  effect(): void {
    if (this.up && --this.effectsLeft >= 0) return;
    this.kill();
    throw new Death();
  }

  /** Die before the next but `count`-th thing that is asked for. */
  arm(count: number): void {
    this.effectsLeft = count;
  }

  /** Die now. Not from within the process. */
  kill(): void {
    this.up = false;
    this.paused = false;
    this.backlog.length = 0;
  }

  /** As by SIGSTOP: what comes in waits. */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    const { life } = this;
    for (const run of this.backlog.splice(0)) this.enter(life, run);
  }
}
