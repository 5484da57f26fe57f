/** What a server counts, in Prometheus' text format: the one door of prom-client. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

const SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const TOKENS_BUCKETS = [16, 64, 256, 1024, 4096, 16_384, 65_536];

/** Read when the metrics are asked for. */
export interface LiveGauges {
  readonly queuedInputs: () => number;
  readonly requestsInFlight: () => number;
}

export class ServingMetrics {
  private readonly registry = new Registry();
  private readonly requests: Counter<"route" | "status">;
  private readonly seconds: Histogram<"route">;
  private readonly batchTokens: Histogram;
  private readonly batchInputs: Histogram;
  private readonly tokens: Counter<"modality">;

  constructor(gauges: LiveGauges) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.requests = new Counter({
      name: "soma_requests_total",
      help: "Requests answered, by route and status.",
      labelNames: ["route", "status"],
      registers,
    });
    this.seconds = new Histogram({
      name: "soma_request_duration_seconds",
      help: "Time from the first byte of a request to the last of its answer.",
      labelNames: ["route"],
      buckets: SECONDS_BUCKETS,
      registers,
    });
    this.batchTokens = new Histogram({
      name: "soma_batch_tokens",
      help: "Tokens of a batch, padding counted.",
      buckets: TOKENS_BUCKETS,
      registers,
    });
    this.batchInputs = new Histogram({
      name: "soma_batch_inputs",
      help: "Inputs embedded together.",
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
      registers,
    });
    this.tokens = new Counter({
      name: "soma_tokens_total",
      help: "Tokens embedded, by modality.",
      labelNames: ["modality"],
      registers,
    });
    liveGauge("soma_queue_inputs", "Inputs that wait for a batch.", gauges.queuedInputs, registers);
    liveGauge(
      "soma_requests_in_flight",
      "Requests that compute or wait to.",
      gauges.requestsInFlight,
      registers,
    );
  }

  /** @param route  the pattern ("/v1/models/:id"), never the path: labels must stay few */
  observeRequest(route: string, status: number, seconds: number): void {
    this.requests.inc({ route, status });
    this.seconds.observe({ route }, seconds);
  }

  observeBatch(batch: { readonly inputs: number; readonly tokens: number }): void {
    this.batchInputs.observe(batch.inputs);
    this.batchTokens.observe(batch.tokens);
  }

  observeTokens(modality: string, count: number): void {
    this.tokens.inc({ modality }, count);
  }

  get mediaType(): string {
    return this.registry.contentType;
  }

  /** All metrics as text. */
  render(): Promise<string> {
    return this.registry.metrics();
  }
}

function liveGauge(name: string, help: string, read: () => number, registers: Registry[]): void {
  new Gauge({
    name,
    help,
    registers,
    collect() {
      this.set(read());
    },
  });
}
