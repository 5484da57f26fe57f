/** How many requests may be in flight, and how many bytes of bodies: beyond, a server says so instead of slowing down. */

export interface AdmissionLimits {
  readonly requestsMax: number;
  readonly bodyBytesMax: number;
}

export class Admission {
  private readonly limits: AdmissionLimits;
  private requests = 0;
  private bodyBytes = 0;
  private readonly idleListeners: (() => void)[] = [];

  constructor(limits: AdmissionLimits) {
    this.limits = limits;
  }

  get inFlight(): number {
    return this.requests;
  }

  /**
   * Take a request in. @param bodyBytes  what its body may have
   * @returns what to call once when it is over, or undefined if it must be refused
   */
  enter(bodyBytes: number): (() => void) | undefined {
    const { requestsMax, bodyBytesMax } = this.limits;
    if (this.requests >= requestsMax) return undefined;
    // One body is always let in, or a limit under the size of a picture would refuse it for ever.
    if (this.requests > 0 && this.bodyBytes + bodyBytes > bodyBytesMax) return undefined;
    this.requests++;
    this.bodyBytes += bodyBytes;
    let over = false;
    return () => {
      if (over) return;
      over = true;
      this.requests--;
      this.bodyBytes -= bodyBytes;
      if (this.requests === 0) for (const listener of this.idleListeners.splice(0)) listener();
    };
  }

  /** Resolves when nothing is in flight. */
  idle(): Promise<void> {
    if (this.requests === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.idleListeners.push(resolve);
    });
  }
}
