/**
 * The rules of the house as a function of its files: which wing may import which, one door for each outside
 * package, what pure code may not name. Read from the syntax tree, so a comment or a string is no import.
 */
import ts from "typescript";

/** A file's path, relative to the root with "/", and its text. */
export type Files = ReadonlyMap<string, string>;

/** A broken rule: "path:line: what is wrong". */
export type Violation = string;

// ---- the plan ----

/** What each wing may import besides itself. "base" is the ground all stand on. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  tokenizers: ["base"],
  datasets: ["base", "tokenizers"],
  models: ["base", "tokenizers"],
  training: ["base", "tokenizers", "datasets", "models"],
  protocol: ["base", "tokenizers"],
  node: ["base", "tokenizers", "models", "protocol"],
  bench: ["base", "tokenizers", "datasets", "models", "training", "protocol", "node"],
};

/** Of these wings protocol may import only what is pure. */
const PROTOCOL_MAY_IMPORT = new Set([
  "base/errors.ts",
  "tokenizers/hash.ts",
  "tokenizers/mask.ts",
  "tokenizers/modality.ts",
  "tokenizers/random.ts",
  "tokenizers/units.ts",
]);

/** Inside protocol: a folder may import those of its line and nothing else. validator.ts, at the top, may import all. */
const PROTOCOL_ARROWS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  crypto: ["base"],
  economics: ["base"],
  consensus: ["base", "crypto"],
  shard: ["base", "crypto"],
  ledger: ["base", "crypto", "consensus", "shard", "economics"],
  curiosity: ["base", "crypto", "consensus", "shard"],
  transactions: ["base", "crypto", "consensus", "shard", "ledger", "curiosity", "economics"],
  epoch: ["base", "crypto", "consensus", "shard", "ledger", "curiosity", "economics"],
  snapshot: ["base", "crypto", "consensus", "shard", "ledger", "curiosity", "economics"],
};

/** Packages whose door is fixed. One not listed may be named in one file of the house, whichever that is. */
const DOORS: readonly { readonly package: RegExp; readonly door: RegExp }[] = [
  { package: /^@tensorflow\//, door: /^models\/backend\.ts$/ },
  { package: /^sentencepiece-js$/, door: /^tokenizers\/text\/sentencepiece\.ts$/ },
  { package: /^sharp$/, door: /^tokenizers\/image\/decode\.ts$/ },
  { package: /^fluent-ffmpeg$/, door: /^tokenizers\/video\/decode\.ts$/ },
  { package: /^apache-arrow$/, door: /^datasets\/arrow\.ts$/ },
  { package: /^hnswlib-node$/, door: /^models\/neighbors\/hnsw\.ts$/ },
  { package: /^(libp2p|@libp2p\/.*|@chainsafe\/.*)$/, door: /^node\/network\/libp2p\.ts$/ },
  {
    package: /^@noble\//,
    door: /^(tokenizers\/hash\.ts|protocol\/crypto\/.*\.ts|protocol\/base\/hash\.ts)$/,
  },
  { package: /^@mysten\/bcs$/, door: /^protocol\// },
  { package: /^@bufbuild\/protobuf$/, door: /^models\/onnx\/model-file\.ts$/ },
  { package: /^commander$/, door: /^(cli\.ts|[a-z]+\/([a-z]+-)?commands?\.ts)$/ },
];

/** Slow to load: the command line must not reach them before an action runs. */
const HEAVY =
  /^(@tensorflow\/.*|sharp|apache-arrow|hnswlib-node|sentencepiece-js|fastify|@fastify\/.*|umap-js|hyparquet.*)$/;

/** Files of the network's rules outside protocol/: pure as well. */
const PURE_FILES = new Set([
  "tokenizers/hash.ts",
  "tokenizers/mask.ts",
  "tokenizers/modality.ts",
  "tokenizers/random.ts",
  "tokenizers/units.ts",
]);

const LINES_MAX = 400;
/** Lists of cases are long without being hard to read. */
const TEST_LINES_MAX = 600;

/** Files that may be longer, each with the reason. */
const MAY_BE_LONG: ReadonlyMap<string, string> = new Map();

// ---- reading ----

export interface Import {
  /** As written. */
  readonly specifier: string;
  readonly line: number;
  /** "static" runs before the file does; "type" vanishes; "dynamic" runs when reached (import(), require, new Worker). */
  readonly kind: "static" | "type" | "dynamic";
}

/** Every module that a source names, in order. */
export function importsOf(path: string, text: string): readonly Import[] {
  const source = parse(path, text);
  const found: Import[] = [];
  const add = (node: ts.Node, literal: ts.Node | undefined, kind: Import["kind"]): void => {
    if (literal === undefined || !ts.isStringLiteralLike(literal)) return;
    found.push({ specifier: literal.text, line: lineOf(source, node), kind });
  };
  walk(source, (node) => {
    if (ts.isImportDeclaration(node)) {
      add(node, node.moduleSpecifier, isTypeOnly(node) ? "type" : "static");
    } else if (ts.isExportDeclaration(node)) {
      add(node, node.moduleSpecifier, node.isTypeOnly ? "type" : "static");
    } else if (ts.isImportTypeNode(node)) {
      if (ts.isLiteralTypeNode(node.argument)) add(node, node.argument.literal, "type");
    } else if (ts.isCallExpression(node) && isLoader(node.expression)) {
      add(node, node.arguments[0], "dynamic");
    } else if (ts.isNewExpression(node) && isWorkerUrl(node)) {
      add(node, node.arguments?.[0], "dynamic");
    }
  });
  return found;
}

function isTypeOnly(node: ts.ImportDeclaration): boolean {
  const clause = node.importClause;
  if (clause === undefined) return false; // for its effect
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const named = clause.namedBindings;
  return (
    clause.name === undefined &&
    named !== undefined &&
    ts.isNamedImports(named) &&
    named.elements.length > 0 &&
    named.elements.every((element) => element.isTypeOnly)
  );
}

/** import(…), require(…) or require.resolve(…). */
function isLoader(callee: ts.Expression): boolean {
  if (callee.kind === ts.SyntaxKind.ImportKeyword) return true;
  if (ts.isPropertyAccessExpression(callee)) {
    return (
      callee.name.text === "resolve" &&
      ts.isIdentifier(callee.expression) &&
      callee.expression.text === "require"
    );
  }
  return ts.isIdentifier(callee) && callee.text === "require";
}

/** `new Worker(new URL("./worker.js", import.meta.url))`: a file of ours that a thread will run. */
function isWorkerUrl(node: ts.NewExpression): boolean {
  const first = node.arguments?.[0];
  return (
    ts.isNewExpression(node.parent) &&
    ts.isIdentifier(node.parent.expression) &&
    node.parent.expression.text === "Worker" &&
    ts.isIdentifier(node.expression) &&
    node.expression.text === "URL" &&
    first !== undefined &&
    ts.isStringLiteralLike(first) &&
    /^\.\.?\/.*\.[jt]s$/.test(first.text) &&
    node.arguments?.[1]?.getText() === "import.meta.url"
  );
}

/** Each rule reads the same files. */
const parsed = new Map<string, ts.SourceFile>();

function parse(path: string, text: string): ts.SourceFile {
  const kept = parsed.get(path);
  if (kept?.text === text) return kept;
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  parsed.set(path, source);
  return source;
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => {
    walk(child, visit);
  });
}

function lineOf(source: ts.SourceFile, node: ts.Node): number {
  return source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
}

/** The path that a relative specifier means from `path`. A worker's ".js" is its ".ts" before the build. */
export function resolve(path: string, specifier: string): string {
  const parts = path.split("/").slice(0, -1);
  for (const step of specifier.split("/")) {
    if (step === "..") parts.pop();
    else if (step !== ".") parts.push(step);
  }
  return parts.join("/").replace(/\.js$/, ".ts");
}

function isOurs(path: string): boolean {
  return path === "cli.ts" || (path.endsWith(".ts") && wingOf(path) in ARROWS);
}

function wingOf(path: string): string {
  return path.includes("/") ? (path.split("/")[0] ?? "") : "";
}

/** "@scope/name" or "name" of a package's specifier. */
function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

interface Edge extends Import {
  readonly from: string;
  /** Path of a file of ours; undefined for packages. */
  readonly to: string | undefined;
}

function edgesOf(files: Files): readonly Edge[] {
  return [...files]
    .filter(([path]) => isOurs(path))
    .flatMap(([from, text]) =>
      importsOf(from, text).map((each) => ({
        ...each,
        from,
        to: each.specifier.startsWith(".") ? resolve(from, each.specifier) : undefined,
      })),
    );
}

// ---- the rules ----

/** Imports run only downwards. */
export function arrows(files: Files): readonly Violation[] {
  return edgesOf(files).flatMap((edge) => {
    if (edge.to === undefined) return [];
    const why = forbiddenArrow(edge.from, edge.to);
    return why === undefined ? [] : [`${edge.from}:${edge.line}: ${why}`];
  });
}

function forbiddenArrow(from: string, to: string): string | undefined {
  const [wing, target] = [wingOf(from), wingOf(to)];
  if (/^[a-z]+\/index\.ts$/.test(to)) return `imports ${to}, the face for others`;
  if (from === "cli.ts") {
    return target === "base" || /^[a-z]+\/commands\.ts$/.test(to)
      ? undefined
      : `cli.ts imports ${to}: only commands.ts files`;
  }
  if (to === "cli.ts") return "imports the roof, cli.ts";
  if (wing === "protocol") {
    if (target === "protocol") return forbiddenInProtocol(from, to);
    return PROTOCOL_MAY_IMPORT.has(to) ? undefined : `protocol may not import ${to}`;
  }
  if (target === wing || (ARROWS[wing]?.includes(target) ?? false)) return undefined;
  return `${wing} may not import ${to}`;
}

function forbiddenInProtocol(from: string, to: string): string | undefined {
  const [folder = "", target = ""] = [from.split("/")[1], to.split("/")[1]];
  if (folder === target || folder === "validator.ts" || folder === "index.ts") return undefined;
  return (PROTOCOL_ARROWS[folder]?.includes(target) ?? false)
    ? undefined
    : `protocol/${folder} may not import ${to}`;
}

/** No file imports itself by any way around. */
export function circles(files: Files): readonly Violation[] {
  const next = new Map<string, readonly string[]>();
  const edges = edgesOf(files);
  for (const [path] of files) {
    next.set(
      path,
      edges.flatMap(({ from, to }) => (from === path && to !== undefined ? [to] : [])),
    );
  }
  const found: Violation[] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    const start = way.indexOf(path);
    if (start >= 0) {
      found.push(`${path}:1: a circle: ${[...way.slice(start), path].join(" → ")}`);
      return;
    }
    if (done.has(path)) return;
    for (const to of next.get(path) ?? []) visit(to, [...way, path]);
    done.add(path);
  };
  for (const path of next.keys()) visit(path, []);
  return found;
}

/** Each outside package is named in one file. @param dependencies names in package.json that users install */
export function doors(files: Files, dependencies: readonly string[]): readonly Violation[] {
  const found: Violation[] = [];
  const doorOf = new Map<string, string>();
  for (const { from, line, specifier, to } of edgesOf(files)) {
    if (to !== undefined || specifier.startsWith("node:")) continue;
    const name = packageOf(specifier);
    const fixed = DOORS.find((door) => door.package.test(name));
    if (fixed !== undefined) {
      if (!fixed.door.test(from)) {
        found.push(`${from}:${line}: names ${name}, whose door is ${fixed.door.source}`);
      }
    } else if ((doorOf.get(name) ?? from) !== from) {
      found.push(`${from}:${line}: names ${name}, whose door is ${doorOf.get(name) ?? ""}`);
    } else {
      doorOf.set(name, from);
    }
    if (!dependencies.includes(name)) {
      found.push(`${from}:${line}: ${name} is no dependency in package.json`);
    }
  }
  return found;
}

/** What cli.ts loads before an action runs is light. */
export function lightCommandLine(files: Files): readonly Violation[] {
  const edges = edgesOf(files).filter(({ kind }) => kind === "static");
  const found: Violation[] = [];
  const seen = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    if (seen.has(path)) return;
    seen.add(path);
    const here = [...way, path];
    for (const edge of edges) {
      if (edge.from !== path) continue;
      if (edge.to !== undefined) visit(edge.to, here);
      else if (HEAVY.test(packageOf(edge.specifier))) {
        found.push(
          `${path}:${edge.line}: the command line loads ${edge.specifier} at once: ${here.join(" → ")}`,
        );
      }
    }
    // The door loads some packages by require at its top: reaching it is reaching them.
    if (path === "models/backend.ts") {
      found.push(`${path}:1: the command line loads tensors at once: ${here.join(" → ")}`);
    }
  };
  visit("cli.ts", []);
  return found;
}

/** Functions of Math that the standard leaves to the engine: two validators could differ. */
const APPROXIMATED = new Set(
  "acos acosh asin asinh atan atanh atan2 cbrt cos cosh exp expm1 hypot log log1p log10 log2 pow random sin sinh sqrt tan tanh".split(
    " ",
  ),
);
/** Clocks, timers, IO and what differs between machines. */
const BANNED_NAMES = new Set(
  "Promise Date performance setTimeout setInterval setImmediate queueMicrotask process console fetch globalThis Intl Atomics SharedArrayBuffer require".split(
    " ",
  ),
);

/** protocol/ and the pure files name no clock, socket, disk, tensor, promise or approximation. */
export function purity(files: Files): readonly Violation[] {
  return [...files]
    .filter(
      ([path]) => (wingOf(path) === "protocol" && path.endsWith(".ts")) || PURE_FILES.has(path),
    )
    .flatMap(([path, text]) => {
      const source = parse(path, text);
      const found: Violation[] = [];
      walk(source, (node) => {
        const what = impurity(path, node);
        if (what !== undefined) found.push(`${path}:${lineOf(source, node)}: ${what} in pure code`);
      });
      return found;
    });
}

function impurity(path: string, node: ts.Node): string | undefined {
  if (ts.isAwaitExpression(node)) return "await";
  if (node.kind === ts.SyntaxKind.AsyncKeyword) return "async";
  if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
    const specifier = node.moduleSpecifier.text;
    const mayHash = /^protocol\/(crypto\/.*|base\/hash\.ts)$/.test(path);
    if (specifier.startsWith("node:") && !(mayHash && specifier === "node:crypto"))
      return specifier;
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    return "import()";
  }
  if (ts.isIdentifier(node) && BANNED_NAMES.has(node.text) && isFree(node)) return node.text;
  if (ts.isPropertyAccessExpression(node)) return impureProperty(node);
  if (
    ts.isBinaryExpression(node) &&
    node.operatorToken.kind === ts.SyntaxKind.AsteriskAsteriskToken &&
    !(isNumber(node.left) && isNumber(node.right))
  ) {
    return "** of what is not a literal";
  }
  return undefined;
}

/** True for a name that means a global or an import, false for a property or a key that is only called so. */
function isFree(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  return !(
    ts.isPropertyAssignment(parent) ||
    ts.isPropertySignature(parent) ||
    ts.isPropertyDeclaration(parent) ||
    ts.isMethodDeclaration(parent) ||
    ts.isMethodSignature(parent)
  );
}

function impureProperty(node: ts.PropertyAccessExpression): string | undefined {
  const name = node.name.text;
  const object = ts.isIdentifier(node.expression) ? node.expression.text : "";
  if (object === "Math" && APPROXIMATED.has(name)) return `Math.${name}`;
  if (object === "JSON" && name === "stringify") return "JSON.stringify";
  if (/^(localeCompare|toLocale[A-Z]\w*)$/.test(name)) return name;
  const call = node.parent;
  if (
    (name === "sort" || name === "toSorted") &&
    ts.isCallExpression(call) &&
    call.expression === node &&
    call.arguments.length === 0
  ) {
    return `${name}() without a comparator`;
  }
  return undefined;
}

function isNumber(node: ts.Node): boolean {
  return ts.isNumericLiteral(node) || ts.isBigIntLiteral(node);
}

/** No default export, no `export *`; relative imports say ".ts". Configuration files of tools are not the house's. */
export function exports(files: Files): readonly Violation[] {
  return [...files]
    .filter(([path]) => path.endsWith(".ts") && !path.endsWith(".config.ts"))
    .flatMap(([path, text]) => {
      const source = parse(path, text);
      const found: Violation[] = [];
      walk(source, (node) => {
        const isDefault =
          ts.isExportAssignment(node) ||
          node.kind === ts.SyntaxKind.DefaultKeyword ||
          (ts.isExportSpecifier(node) && node.name.text === "default");
        if (isDefault) found.push(`${path}:${lineOf(source, node)}: a default export`);
        if (ts.isExportDeclaration(node) && node.exportClause === undefined) {
          found.push(`${path}:${lineOf(source, node)}: export *`);
        }
      });
      for (const { specifier, line, kind } of importsOf(path, text)) {
        if (kind !== "dynamic" && /^\.\.?\//.test(specifier) && !specifier.endsWith(".ts")) {
          found.push(`${path}:${line}: imports ${specifier} without .ts`);
        }
      }
      return found;
    });
}

/** Paths of one person's machine, and hosts of package registries: the repository is for everyone. */
const FOREIGN: readonly { readonly what: string; readonly pattern: RegExp }[] = [
  {
    what: "a path of one machine",
    pattern: /(?<![\w.}\])~-])\/(?:work|root|tmp|home\/\w+|Users\/\w+)\/[\w.@-]/,
  },
  {
    what: "a registry's host",
    pattern:
      /\b(?:registry\.[\w-]+\.\w+|(?:[\w-]+\.)*(?:pypi|pythonhosted|npmmirror|artifactory|jfrog)[\w-]*\.(?:org|com|io|net|internal))\b/i,
  },
  {
    what: "a private address",
    pattern: /\/\/(?:10\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b/,
  },
];

export function foreignWords(files: Files): readonly Violation[] {
  return [...files].flatMap(([path, text]) =>
    text.split("\n").flatMap((line, index) =>
      FOREIGN.flatMap(({ what, pattern }) => {
        const match = pattern.exec(line);
        return match === null ? [] : [`${path}:${index + 1}: ${what}: ${match[0]}`];
      }),
    ),
  );
}

/** A file is about one thing and can be read in one go. */
export function lengths(files: Files): readonly Violation[] {
  return [...files].flatMap(([path, text]) => {
    const lineCount = text.split("\n").length - 1;
    const limit = path.startsWith("test/") ? TEST_LINES_MAX : LINES_MAX;
    return !/\.(ts|mjs|cjs|cc|py)$/.test(path) || MAY_BE_LONG.has(path) || lineCount <= limit
      ? []
      : [`${path}:1: ${lineCount} lines; split it, or say in MAY_BE_LONG why not`];
  });
}
