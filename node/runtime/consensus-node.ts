/** A validator's consensus on real ports: the core, its driver, its clock. */
import type { ConsensusParameters } from "../../protocol/base/parameters.ts";
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { SignatureCheck } from "../../protocol/consensus/block-verifier.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import { ConsensusCore } from "../../protocol/consensus/core.ts";
import type { Signer } from "../../protocol/consensus/events.ts";
import { committeeSignatures } from "../../protocol/consensus/signatures.ts";
import { ConsensusDriver, type DriverNotice } from "./driver.ts";
import type { Application, Network, Store } from "./ports.ts";
import { SteadyClock } from "./steady-clock.ts";

export interface ConsensusNodeOptions {
  readonly committee: Committee;
  readonly ownIndex: AuthorityIndex;
  readonly parameters: ConsensusParameters;
  readonly signer: Signer;
  readonly network: Network;
  readonly store: Store;
  readonly application: Application;
  readonly onNotice: (notice: DriverNotice) => void;
  /** The committee's own, unless nodes of one process share one. */
  readonly checkSignature?: SignatureCheck;
}

export interface ConsensusNode {
  readonly driver: ConsensusDriver;
  /** Made when the driver starts. */
  core(): ConsensusCore | undefined;
}

/** Not started yet. */
export function makeConsensusNode(options: ConsensusNodeOptions): ConsensusNode {
  const { committee, ownIndex, parameters, signer } = options;
  const checkSignature = options.checkSignature ?? committeeSignatures(committee);
  let core: ConsensusCore | undefined;
  const driver = new ConsensusDriver({
    ...options,
    clock: new SteadyClock(),
    makeCore: (recovered) => {
      core = new ConsensusCore({
        committee,
        ownIndex,
        parameters,
        signer,
        checkSignature,
        recovered,
      });
      return core;
    },
  });
  return { driver, core: () => core };
}
