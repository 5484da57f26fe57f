"""Search for hyperparameters with Ray Tune: each trial is one `soma sweep trial`, plain JSON in and out.

    python sweep.py --soma "node dist/cli.js" --out runs/ray --trials 6 --steps 40

Ray spreads the trials over as many machines as its cluster has; `soma` must run on each, and --out lie on a disk that all
see. Needs ray[tune]. docs/sweeps.md tells more.
"""

import argparse
import json
import shlex
import subprocess
from pathlib import Path

from ray import tune


def trial(config, soma, out, recipe, steps, objective):
    """Train once, on whichever machine Ray chose; report the objective."""
    spec = {
        "recipe": recipe,
        "hyperparameters": config,
        "budget": {"steps": steps},
        "objective": objective,
        "out": str(Path(out) / tune.get_context().get_trial_name()),
    }
    done = subprocess.run(
        [*shlex.split(soma), "sweep", "trial"], input=json.dumps(spec), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode not in (0, 1):  # a training that diverged (1) is a result: it has no value
        raise RuntimeError(f"soma ended with exit code {done.returncode}")
    result = json.loads(done.stdout)
    value = result["value"]
    tune.report({objective: float("-inf") if value is None else value, "run": result["run"]})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soma", default="soma", help="command that starts soma on every machine")
    parser.add_argument("--out", default="runs/ray", help="folder of the run folders")
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--objective", default="mrr")
    parser.add_argument("--cpus", type=int, default=2, help="cores that each trial is given")
    args = parser.parse_args()

    out = str(Path(args.out).resolve())
    # soma's own path may be relative: Ray starts its trials in other folders.
    soma = " ".join(str(Path(word).resolve()) if Path(word).exists() else word for word in shlex.split(args.soma))
    work = tune.with_parameters(
        trial, soma=soma, out=out, recipe=args.recipe, steps=args.steps, objective=args.objective
    )
    tuner = tune.Tuner(
        tune.with_resources(work, {"cpu": args.cpus}),
        param_space={"learningRate": tune.loguniform(1e-4, 3e-2), "batchSize": tune.choice([16, 32])},
        tune_config=tune.TuneConfig(metric=args.objective, mode="max", num_samples=args.trials),
    )
    best = tuner.fit().get_best_result()
    print(json.dumps({"value": best.metrics[args.objective], "config": best.config, "run": best.metrics["run"]}))


if __name__ == "__main__":
    main()
