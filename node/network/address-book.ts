/**
 * Which addresses may connect: not too often, and not after garbage. This machine's own are exempt: there all validators
 * of a local network share one, and a fault of one would shut out the others.
 */
import type { Milliseconds } from "../../protocol/base/effects.ts";
import type { NetworkLimits } from "./limits.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Addresses remembered; the one seen longest ago is forgotten first. */
const ADDRESSES_MAX = 10_000;

interface Known {
  readonly rate: TokenBucket;
  bannedUntil: Milliseconds;
}

export class AddressBook {
  private readonly limits: NetworkLimits;
  private readonly known = new Map<string, Known>();

  constructor(limits: NetworkLimits) {
    this.limits = limits;
  }

  /** Counts as one connection. */
  admits(address: string, now: Milliseconds): boolean {
    if (this.isExempt(address)) return true;
    const { rate, bannedUntil } = this.find(address, now);
    return bannedUntil <= now && rate.take(now) === 0;
  }

  ban(address: string, now: Milliseconds): void {
    if (this.isExempt(address)) return;
    this.find(address, now).bannedUntil = now + this.limits.addressBanMs;
  }

  private find(address: string, now: Milliseconds): Known {
    const perSecond = this.limits.connectionsPerAddressPerSecond;
    const known = this.known.get(address) ?? {
      rate: new TokenBucket({ perSecond, burst: perSecond }, now),
      bannedUntil: 0,
    };
    this.known.delete(address); // to the end: most recently seen
    this.known.set(address, known);
    for (const oldest of this.known.keys()) {
      if (this.known.size <= ADDRESSES_MAX) break;
      this.known.delete(oldest);
    }
    return known;
  }

  private isExempt(address: string): boolean {
    return this.limits.isLoopbackExempt && isLoopback(address);
  }
}

function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address);
}
