/** The losses and their gradients against PyTorch's (test/vectors/make-objectives.py). */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import {
  startBackend,
  tf,
  type Scalar,
  type Tensor,
  type Tensor2D,
} from "../../../models/backend.ts";
import { unitPrefix } from "../../../models/ops/l2-normalise.ts";
import { sigReg } from "../../../training/objectives/lejepa/loss.ts";
import { queueLoss } from "../../../training/objectives/moco/loss.ts";
import { ntXent } from "../../../training/objectives/simclr/loss.ts";
import { minedTriplets } from "../../../training/objectives/triplet/loss.ts";
import { covarianceTerm, varianceTerm } from "../../../training/objectives/vicreg/loss.ts";

interface Packed {
  readonly shape: [number, number];
  readonly values: readonly number[];
}

interface Case {
  readonly name: string;
  readonly options: Readonly<Record<string, number | string>>;
  readonly inputs: Readonly<Record<string, Packed>>;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Packed>>;
}

const path = new URL("../../vectors/objectives.json", import.meta.url);
const { cases } = JSON.parse(readFileSync(path, "utf8")) as { readonly cases: readonly Case[] };

beforeAll(async () => {
  await startBackend();
});

type Given = (name: string) => Tensor2D;
const unit = (x: Tensor2D): Tensor2D => unitPrefix(x, x.shape[1]);

/** By the first word of a case: the loss, and which of its inputs are differentiated. */
const LOSSES: Readonly<
  Record<string, { of: (x: Given, options: Case["options"]) => Scalar; by: readonly string[] }>
> = {
  triplet: {
    of: (x, { margin, mining }) =>
      minedTriplets(unit(x("a")), unit(x("b")), {
        margin: Number(margin),
        mining: mining === "hard" ? "hard" : "semi-hard",
      }),
    by: ["a", "b"],
  },
  ntXent: {
    of: (x, { temperature }) => ntXent(unit(x("a")), unit(x("b")), Number(temperature)),
    by: ["a", "b"],
  },
  moco: {
    of: (x, { temperature }) =>
      queueLoss(unit(x("queries")), unit(x("keys")), unit(x("queue")), Number(temperature)),
    by: ["queries"],
  },
  variance: { of: (x) => varianceTerm(x("x")), by: ["x"] },
  covariance: { of: (x) => covarianceTerm(x("x")), by: ["x"] },
  sigReg: {
    of: (x) => {
      const slices = x("slices");
      return sigReg(x("x"), tf.div(slices, tf.norm(slices, 2, 0, true)));
    },
    by: ["x"],
  },
};

describe.each(cases)("$name", ({ name, options, inputs, loss, gradients }) => {
  const { of, by } = present(LOSSES[name.split(" ")[0] ?? ""], `a loss for ${name}`);

  test("has PyTorch's value and gradients", () => {
    const tensors = new Map(
      Object.entries(inputs).map(([key, { shape, values }]) => [
        key,
        tf.tensor2d([...values], shape),
      ]),
    );
    const lossOf = (...given: Tensor[]): Tensor =>
      of((key) => {
        const index = by.indexOf(key);
        return present(index < 0 ? tensors.get(key) : (given[index] as Tensor2D), key);
      }, options);
    const { value, grads } = tf.valueAndGrads(lossOf)(
      by.map((key) => present(tensors.get(key), key)),
    );
    expect(relative(value.dataSync(), [loss])).toBeLessThan(1e-5);
    by.forEach((key, i) => {
      const ours = present(grads[i], key).dataSync();
      expect(relative(ours, present(gradients[key], key).values)).toBeLessThan(1e-4);
    });
    tf.dispose([value, ...grads, ...tensors.values()]);
  });
});

/** Largest difference, as a share of the largest number that should be. */
function relative(ours: ArrayLike<number>, theirs: readonly number[]): number {
  expect(ours.length).toBe(theirs.length);
  const scale = Math.max(...theirs.map(Math.abs));
  return Math.max(...theirs.map((value, i) => Math.abs((ours[i] ?? Number.NaN) - value))) / scale;
}
