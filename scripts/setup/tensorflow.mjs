// TensorFlow's C libraries and headers, taken from a wheel of PyPI into the cache directory. One wheel per platform is
// pinned by SHA-256, always the one of CPython 3.11: only its C libraries are used, so the local Python's version
// does not matter. The unpacked folder appears by a rename, with a record of its files: half of one is never used.
import fs, { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import {
  cacheDirectory,
  findProgram,
  PartMissing,
  readJson,
  run,
  say,
  sha256File,
  tellingLine,
  withLock,
  writeWhole,
} from "./tools.mjs";

export const TENSORFLOW_VERSION = "2.21.0";
export const LIBRARIES = ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"];

/** What is downloaded, by platform. `sizeMb` is for the progress line, `diskMb` what unpacking needs at most. */
const WHEELS = {
  "linux-x64": {
    package: "tensorflow-cpu",
    sha256: "2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c",
    tag: "manylinux_2_27_x86_64",
    sizeMb: 274,
    diskMb: 1_400,
  },
  // Same contents by the package's own account; we had no such machine to try it on.
  "linux-arm64": {
    package: "tensorflow",
    sha256: "4b24aca16d527a3cf1c37f720c04c484c3d20f4d0fdfa98632ac8b9f3be6eb5c",
    tag: "manylinux_2_27_aarch64",
    sizeMb: 280,
    diskMb: 1_400,
  },
};

/** For a machine with an NVIDIA driver. Untested: we had none. The libraries find nvidia/ beside tensorflow/ by themselves. */
const GPU_WHEELS = {
  "linux-x64": {
    package: "tensorflow",
    sha256: "9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124",
    tag: "manylinux_2_27_x86_64",
    sizeMb: 3_500,
    diskMb: 10_000,
    also: [
      [
        "nvidia-cublas-cu12",
        "12.9.3.13",
        "d7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72",
      ],
      [
        "nvidia-cuda-cupti-cu12",
        "12.8.90",
        "ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182",
      ],
      [
        "nvidia-cuda-nvcc-cu12",
        "12.9.86",
        "5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0",
      ],
      [
        "nvidia-cuda-nvrtc-cu12",
        "12.9.86",
        "210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4",
      ],
      [
        "nvidia-cuda-runtime-cu12",
        "12.9.79",
        "25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3",
      ],
      [
        "nvidia-cudnn-cu12",
        "9.28.0.42",
        "9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375",
      ],
      [
        "nvidia-cufft-cu12",
        "11.4.1.4",
        "c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28",
      ],
      [
        "nvidia-curand-cu12",
        "10.3.10.19",
        "49b274db4780d421bd2ccd362e1415c13887c53c214f0d4b761752b8f9f6aa1e",
      ],
      [
        "nvidia-cusolver-cu12",
        "11.7.5.82",
        "15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88",
      ],
      [
        "nvidia-cusparse-cu12",
        "12.5.10.65",
        "73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78",
      ],
      [
        "nvidia-nccl-cu12",
        "2.32.3",
        "bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c",
      ],
      [
        "nvidia-nvjitlink-cu12",
        "12.9.86",
        "e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9",
      ],
    ],
  },
};

const PLATFORM = `${process.platform}-${process.arch}`;

/** "cpu" or "gpu": which TensorFlow suits this machine. */
export async function tensorflowDevice() {
  if (GPU_WHEELS[PLATFORM] === undefined) return "cpu";
  const program = findProgram("nvidia-smi");
  if (program === undefined) return "cpu";
  const { code, output } = await run(program, ["-L"]);
  return code === 0 && /^GPU \d+:/m.test(output) ? "gpu" : "cpu";
}

/** Folder in the cache of a TensorFlow for `device`; libraries and headers lie in its tensorflow/. */
function home(device) {
  return join(
    cacheDirectory(),
    `tensorflow-${TENSORFLOW_VERSION}${device === "gpu" ? "-gpu" : ""}`,
  );
}

/** Folder of the libraries for `device` if they are in the cache, checked by the sizes on record; else undefined. */
export function tensorflowInCache(device) {
  const folder = home(device);
  const record = readJson(join(folder, "soma.json"));
  const wheel = wheelFor(device);
  if (record === undefined || record.wheel !== wheel?.sha256) return undefined;
  const whole = Object.entries(record.files).every(
    ([path, { size }]) => statSync(join(folder, path), { throwIfNoEntry: false })?.size === size,
  );
  return whole ? join(folder, "tensorflow") : undefined;
}

/** Sizes of the libraries by name, for the record beside the binding. */
export function librarySizes(folder) {
  return Object.fromEntries(LIBRARIES.map((name) => [name, statSync(join(folder, name)).size]));
}

function wheelFor(device) {
  return (device === "gpu" ? GPU_WHEELS : WHEELS)[PLATFORM];
}

/**
 * The folder of TensorFlow's libraries for `device`, downloaded if it is not in the cache.
 * @throws PartMissing with the reason and the remedy
 */
export async function provideTensorflow(device) {
  const found = await soundTensorflow(device);
  if (found !== undefined) return found;
  const wheel = wheelFor(device);
  const python = checkMachine(wheel);
  return withLock(`${home(device)}.lock`, "TensorFlow", async () => {
    const meanwhile = await soundTensorflow(device); // another set-up may have brought it
    if (meanwhile !== undefined) return meanwhile;
    removeLeftovers(device);
    const temporary = `${home(device)}.${process.pid}.tmp`;
    try {
      await download(python, wheel, join(temporary, "wheels"));
      await unpack(python, wheel, temporary);
      // What is not whole goes aside first: it takes a second to delete, and the name must not be missing so long.
      const aside = `${home(device)}.${process.pid}.old`;
      if (existsSync(home(device))) renameSync(home(device), aside);
      renameSync(temporary, home(device));
      rmSync(aside, { recursive: true, force: true });
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
    return join(home(device), "tensorflow");
  });
}

/** A set-up that was killed leaves up to 1.2 GB; whoever holds the lock may remove it. */
function removeLeftovers(device) {
  const leftover = new RegExp(
    `^${basename(home(device)).replaceAll(".", "\\.")}\\.\\d+\\.(tmp|old)$`,
  );
  for (const name of readdirSync(cacheDirectory())) {
    if (leftover.test(name)) rmSync(join(cacheDirectory(), name), { recursive: true, force: true });
  }
}

/** tensorflowInCache, with the digests of the libraries checked as well (1 s): asked before something is built on them. */
async function soundTensorflow(device) {
  const folder = tensorflowInCache(device);
  if (folder === undefined) return undefined;
  const { files } = readJson(join(home(device), "soma.json"));
  for (const name of LIBRARIES) {
    if ((await sha256File(join(folder, name))) !== files[`tensorflow/${name}`].sha256)
      return undefined;
  }
  return folder;
}

/** What can be said before 274 MB are downloaded in vain. @returns path of Python */
function checkMachine(wheel) {
  if (wheel === undefined) {
    throw new PartMissing(
      `there is no native TensorFlow for ${PLATFORM}`,
      "use Linux on x64 or arm64 for full speed",
    );
  }
  const glibc = process.report?.getReport().header.glibcVersionRuntime;
  const [major = 0, minor = 0] = (glibc ?? "").split(".").map(Number);
  if (glibc === undefined || major < 2 || (major === 2 && minor < 27)) {
    throw new PartMissing(
      `the C library here is ${glibc === undefined ? "not glibc" : `glibc ${glibc}`}`,
      "use a distribution with glibc 2.27 or newer for full speed",
    );
  }
  const python = findProgram("python3", "python");
  if (python === undefined) {
    throw new PartMissing(
      "python3 is missing",
      "install python3 with pip (Debian: apt-get install python3-pip)",
    );
  }
  mkdirSync(cacheDirectory(), { recursive: true });
  // By the default export: Node 16 has no such name, and should come as far as being told that it is too old.
  const disk = fs.statfsSync(cacheDirectory());
  const freeMb = (disk.bavail * disk.bsize) / 1e6;
  if (freeMb < wheel.diskMb) {
    throw new PartMissing(
      `${cacheDirectory()} has ${Math.floor(freeMb)} MB free and TensorFlow needs ${wheel.diskMb} to unpack`,
      "free some disk, or set SOMA_CACHE to a folder with room, then run `npm run setup`",
    );
  }
  return python;
}

async function download(python, wheel, folder) {
  mkdirSync(folder, { recursive: true });
  const { code: pipCode } = await run(python, ["-m", "pip", "--version"]);
  if (pipCode !== 0) {
    throw new PartMissing("python3 has no pip", "install it (Debian: apt-get install python3-pip)");
  }
  const title = `downloading TensorFlow ${TENSORFLOW_VERSION}`;
  const wanted = [[wheel.package, TENSORFLOW_VERSION, wheel.sha256], ...(wheel.also ?? [])];
  const requirements = join(folder, "requirements.txt");
  writeWhole(
    requirements,
    wanted
      .map(([name, version, digest]) => `${name}==${version} --hash=sha256:${digest}\n`)
      .join(""),
  );
  const progress = downloadProgress(title, folder, wheel.sizeMb);
  const platforms = [
    wheel.tag,
    wheel.tag.replace("2_27", "2_17"),
    wheel.tag.replace("manylinux_2_27", "manylinux2014"),
  ];
  const { code, output } = await run(
    python,
    [
      ...[
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-deps",
      ],
      ...[
        "--only-binary=:all:",
        "--require-hashes",
        "--requirement",
        requirements,
        "--dest",
        folder,
      ],
      ...["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none"],
      ...platforms.flatMap((platform) => ["--platform", platform]),
    ],
    // pip downloads to its temporary folder first, and /tmp may be small.
    { env: { ...process.env, TMPDIR: folder } },
  );
  progress.stop();
  if (code !== 0) {
    throw new PartMissing(
      `TensorFlow cannot be downloaded (${tellingLine(output)})`,
      "check that pip reaches its package index, then run `npm run setup`",
    );
  }
  say(`${title}: done in ${progress.seconds().toFixed(1)} s`);
  // pip has checked the digests it was given; whoever replaced pip has not.
  const digests = new Set();
  for (const name of wheelsIn(folder)) digests.add(await sha256File(join(folder, name)));
  for (const [name, , digest] of wanted) {
    if (!digests.has(digest)) {
      throw new PartMissing(
        `the download of ${name} is not the pinned file`,
        "check the package index that pip uses",
      );
    }
  }
}

function wheelsIn(folder) {
  return readdirSync(folder).filter((name) => name.endsWith(".whl"));
}

/** Tells how far the download is, from the bytes that lie in `folder`: every second on a terminal, else every 10 s. */
function downloadProgress(title, folder, totalMb) {
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1000;
  say(`${title} (${totalMb} MB) …`);
  const tty = process.stderr.isTTY === true;
  const timer = setInterval(
    () => {
      const mb = Math.min(totalMb, bytesIn(folder) / 1e6);
      const line = `set-up: ${title}: ${Math.round(mb)} of ${totalMb} MB, ${(mb / seconds()).toFixed(1)} MB/s`;
      process.stderr.write(tty ? `\r\u001b[K${line}` : `${line}\n`);
    },
    tty ? 1_000 : 10_000,
  );
  return {
    seconds,
    stop() {
      clearInterval(timer);
      if (tty) process.stderr.write("\r\u001b[K");
    },
  };
}

function bytesIn(folder) {
  let total = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    total +=
      statSync(join(entry.parentPath ?? entry.path, entry.name), { throwIfNoEntry: false })?.size ??
      0;
  }
  return total;
}

/** Python reads the archive, since Node has no zip; it leaves files.json: the sizes of what it took. */
const UNPACK = `
import json, os, re, sys, zipfile
target, wanted, wheels = sys.argv[1], re.compile(sys.argv[2]), sys.argv[3:]
files = {}
for wheel in wheels:
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.is_dir() or not wanted.match(entry.filename): continue
            archive.extract(entry, target)
            files[entry.filename] = {"size": entry.file_size}
    os.remove(wheel)
with open(os.path.join(target, "files.json"), "w") as record: json.dump(files, record)
`;

/** Takes libraries and headers out of the wheels, removes the wheels, and leaves the record of what belongs here. */
async function unpack(python, wheel, folder) {
  say("unpacking TensorFlow …");
  const headers = "tensorflow/include/(tensorflow/c|tensorflow/core/platform|tsl|xla)/";
  const wanted = `tensorflow/(${LIBRARIES.map((name) => name.replaceAll(".", "\\.")).join("|")})$|${headers}|nvidia/.*\\.(so[.0-9]*|bc)$|nvidia/.*/bin/`;
  const wheels = join(folder, "wheels");
  const paths = wheelsIn(wheels).map((name) => join(wheels, name));
  const { code, output } = await run(python, ["-c", UNPACK, folder, wanted, ...paths]);
  if (code !== 0) {
    throw new PartMissing(
      `TensorFlow cannot be unpacked (${tellingLine(output)})`,
      "free some disk, then run `npm run setup`",
    );
  }
  rmSync(wheels, { recursive: true, force: true });
  const files = readJson(join(folder, "files.json")) ?? {};
  rmSync(join(folder, "files.json"), { force: true });
  for (const name of LIBRARIES) {
    const entry = files[`tensorflow/${name}`];
    if (entry === undefined)
      throw new PartMissing(`the wheel holds no ${name}`, "report this: the pinned wheel has it");
    entry.sha256 = await sha256File(join(folder, "tensorflow", name));
  }
  writeWhole(join(folder, "soma.json"), JSON.stringify({ wheel: wheel.sha256, files }));
}
