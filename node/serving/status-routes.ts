/** What operators and browsers ask: is it alive, is it ready, how does it do, and the page. */
import type { ServingMetrics } from "./metrics.ts";
import type { Route, RouteReply } from "./route.ts";

export interface StatusSources {
  readonly metrics: ServingMetrics;
  readonly isDraining: () => boolean;
  readonly page: { readonly html: string; readonly contentSecurityPolicy: string };
}

export function statusRoutes({ metrics, isDraining, page }: StatusSources): readonly Route[] {
  const get = (path: string, summary: string, handle: Route["handle"]): Route => ({
    method: "GET",
    path,
    summary,
    tag: "Status",
    errors: "openai",
    computes: false,
    handle,
  });
  const alive = (): RouteReply => ({ body: { status: "ok" } });
  return [
    get("/", "A page to try the model", () => ({
      mediaType: "text/html; charset=utf-8",
      headers: {
        "content-security-policy": page.contentSecurityPolicy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
      },
      body: page.html,
    })),
    get("/healthz", "Whether the process lives", alive),
    get("/health", "The same, where text-embeddings-inference has it", alive),
    get("/readyz", "Whether requests are taken: 503 while the server shuts down", () =>
      isDraining() ? { status: 503, body: { status: "draining" } } : { body: { status: "ok" } },
    ),
    get("/metrics", "Metrics in Prometheus' text format", async () => ({
      mediaType: metrics.mediaType,
      body: await metrics.render(),
    })),
  ];
}
