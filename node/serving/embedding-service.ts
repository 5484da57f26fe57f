/** Inputs of requests → embeddings, through one batcher: tokenizes, weighs, batches, counts. */
import { unitCount, type MaskedTokens, type TokenSequence } from "../../tokenizers/tokenizer.ts";
import type { Embedding } from "../../models/encoder.ts";
import { paddedUnits, type EncoderSession } from "../../models/session.ts";
import { Batcher } from "./batcher.ts";
import type { ServingConfig } from "./config.ts";
import { badInput, type EmbeddingInput } from "./inputs.ts";
import { Refusal, refusalOf } from "./route.ts";

/** Pictures decoded at once at most: each may take 200 MB while it is. */
const DECODES_MAX = 2;

export interface ServiceObserver {
  batch(batch: { readonly inputs: number; readonly tokens: number }): void;
  tokens(modality: string, count: number): void;
}

export interface EmbeddedInputs {
  /** One per input, in order: neither cut nor normalised. */
  readonly embeddings: readonly Embedding[];
  /** Tokens of all inputs: pieces of text, patches of pictures. */
  readonly tokens: number;
}

export interface EmbedRequest {
  readonly inputs: readonly EmbeddingInput[];
  /** The field that the inputs stand in, for messages. */
  readonly name: string;
  readonly signal: AbortSignal;
  /** Refuse texts longer than the encoder reads, instead of cutting them. */
  readonly refuseLong?: boolean;
}

export class EmbeddingService {
  readonly session: EncoderSession;
  private readonly batcher: Batcher<MaskedTokens, Embedding>;
  private readonly observer: ServiceObserver;
  private readonly decodes = new Turnstile(DECODES_MAX);

  constructor(session: EncoderSession, config: ServingConfig, observer: ServiceObserver) {
    this.session = session;
    this.observer = observer;
    this.batcher = new Batcher({
      embed: (inputs) => session.embed(inputs),
      weigh: ({ tokens }) => ({ lane: tokens.kind, tokens: paddedUnits(unitCount(tokens)) }),
      limits: {
        batchTokensMax: config.maxBatchTokens,
        queuedMax: config.maxConcurrentRequests * config.maxClientBatchSize,
        waitMs: config.batchWaitMs,
      },
      onBatch: (batch) => {
        observer.batch(batch);
      },
    });
  }

  /** Inputs that wait for a batch. */
  get queued(): number {
    return this.batcher.queued;
  }

  /** @throws Refusal for inputs that the encoder does not take, and when the queue is full */
  async embed({ inputs, name, signal, refuseLong }: EmbedRequest): Promise<EmbeddedInputs> {
    const sequences: MaskedTokens[] = [];
    let total = 0;
    for (const [i, input] of inputs.entries()) {
      const parameter = inputs.length === 1 ? name : `${name}[${i}]`;
      signal.throwIfAborted();
      const tokens = await this.tokenize(input, parameter, refuseLong === true);
      sequences.push({ tokens });
      total += unitCount(tokens);
    }
    const embeddings = await this.batcher.submit(sequences, signal);
    for (const { tokens } of sequences) this.observer.tokens(tokens.modality, unitCount(tokens));
    return { embeddings, tokens: total };
  }

  /** Refuse new inputs; resolves when all that were taken are answered. */
  close(): Promise<void> {
    return this.batcher.close();
  }

  private async tokenize(
    input: EmbeddingInput,
    parameter: string,
    refuseLong: boolean,
  ): Promise<TokenSequence> {
    try {
      switch (input.kind) {
        case "text": {
          const tokens = this.session.tokenizeText(input.text);
          if (refuseLong) this.assertWhole(input.text, tokens.ids.length, parameter);
          return tokens;
        }
        case "ids":
          return this.idTokens(input.ids, parameter);
        case "image":
          return await this.decodes.pass(() => this.session.tokenizeImage(input.bytes));
      }
    } catch (error) {
      throw refusalOf(error, parameter) ?? error;
    }
  }

  /** Ids are taken as they are: cutting them would hide a client's mistake. */
  private idTokens(ids: Int32Array, parameter: string): TokenSequence {
    const tower = this.session.config.text;
    if (tower === undefined) throw badInput("this model does not read text", parameter);
    if (ids.length > tower.maxTokens) {
      throw tooLong(`"${parameter}" has ${ids.length} tokens`, tower.maxTokens, parameter);
    }
    const outside = ids.find((id) => id >= tower.vocabularySize);
    if (outside !== undefined) {
      throw badInput(
        `"${parameter}" holds ${outside}; token ids are 0 to ${tower.vocabularySize - 1}`,
        parameter,
      );
    }
    return { kind: "ids", modality: "text", ids };
  }

  private assertWhole(text: string, count: number, parameter: string): void {
    const { maxTokens = 0 } = this.session.config.text ?? {};
    if (count < maxTokens) return;
    const whole = this.session.countTokens(text);
    if (whole > maxTokens) {
      throw tooLong(`"${parameter}" has ${whole} tokens`, maxTokens, parameter);
    }
  }
}

function tooLong(what: string, tokensMax: number, parameter: string): Refusal {
  return new Refusal({
    status: 413,
    code: "INPUT_TOO_LONG",
    message: `${what}, this model reads at most ${tokensMax}`,
    parameter,
  });
}

/** Lets so many through at once; the others wait their turn. */
class Turnstile {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(places: number) {
    this.free = places;
  }

  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      // The place goes from hand to hand: a newcomer cannot slip in between.
      const next = this.waiting.shift();
      if (next === undefined) this.free++;
      else next();
    }
  }
}
