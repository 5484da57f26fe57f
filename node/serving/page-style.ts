/** Style of the page at /: one column, light and dark, phone width first. */
export const PAGE_STYLE = `
:root {
  --ground: #faf9f7; --card: #ffffff; --ink: #1d1c1a; --soft: #66625c; --line: #dedad3;
  --accent: #0b6e5f; --accent-ink: #ffffff; --tint: #e6f2ef; --error: #a3261b;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #161615; --card: #211f1e; --ink: #f0eeea; --soft: #aaa59c; --line: #3a3734;
    --accent: #5cc7b2; --accent-ink: #10211d; --tint: #1d302c; --error: #ff9a8d;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
header, main, footer { max-width: 60rem; margin-inline: auto; padding-inline: 1rem; }
header { display: flex; justify-content: space-between; align-items: center; gap: 1rem; padding-block: .75rem; }
.brand { margin: 0; font-weight: 700; overflow-wrap: anywhere; }
.model { margin-left: .35rem; font-weight: 400; color: var(--soft); }
nav { display: flex; gap: 1rem; }
a { color: var(--accent); text-underline-offset: .2em; }
h1 { margin: 1.5rem 0 .25rem; font-size: clamp(1.6rem, 5vw, 2.25rem); line-height: 1.15; letter-spacing: -.01em; text-wrap: balance; }
.lead { margin: 0 0 1.5rem; color: var(--soft); max-width: 40rem; }
.inputs { display: grid; gap: .75rem; }
.input { display: grid; gap: .75rem; }
@media (min-width: 40rem) {
  .input { grid-template-columns: 1fr minmax(13rem, 17rem); align-items: stretch; }
  .input:not(:has(.words)), .input:not(:has(.drop)) { grid-template-columns: 1fr; }
  .two { grid-template-columns: 1fr 1fr; gap: 1.25rem; }
  .two .input { grid-template-columns: 1fr; align-content: start; }
}
.words { display: flex; flex-direction: column; gap: .3rem; }
.words span { font-size: .875rem; color: var(--soft); }
input[type=search] {
  width: 100%; flex: 1; min-height: 3.25rem; padding: .5rem 1rem; font: inherit; font-size: 1.125rem;
  color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
}
.drop {
  position: relative; display: flex; align-items: center; gap: .9rem; min-height: 5rem; padding: .6rem .9rem;
  background: var(--card); border: 1.5px dashed var(--line); border-radius: .75rem; cursor: pointer;
}
.drop:hover, .drop.over { border-color: var(--accent); background: var(--tint); }
.drop input { position: absolute; width: 1px; height: 1px; opacity: 0; }
.drop img { width: 3.75rem; height: 3.75rem; object-fit: contain; border-radius: .4rem; background: #fff; }
.hint { display: flex; flex-direction: column; line-height: 1.3; }
.hint strong { font-weight: 600; }
.can-drop { font-size: .875rem; color: var(--soft); }
@media (hover: none) { .can-drop { display: none; } }
:is(input, button, a):focus-visible, .drop:focus-within { outline: 3px solid var(--accent); outline-offset: 2px; }
.examples { display: flex; flex-wrap: wrap; gap: .5rem; margin: .9rem 0 0; }
.example {
  padding: .35rem .85rem; min-height: 2.25rem; font: inherit; font-size: .9rem; color: inherit; cursor: pointer;
  background: transparent; border: 1px solid var(--line); border-radius: 2rem;
}
.example:hover { border-color: var(--accent); background: var(--tint); }
.status { min-height: 1.5rem; margin: 1.1rem 0 .6rem; color: var(--soft); }
.status.error { color: var(--error); }
.status.big { font-size: clamp(1.5rem, 5vw, 2rem); color: var(--ink); font-variant-numeric: tabular-nums; }
.results { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.25rem, 1fr)); gap: .75rem; margin: 0; padding: 0; list-style: none; }
.results[aria-busy=true] { opacity: .55; }
.results li {
  display: flex; flex-direction: column; align-items: center; padding: .9rem .6rem .7rem; text-align: center;
  background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
}
.results li:first-child { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
.results img { width: 4rem; height: 4rem; object-fit: contain; }
.name { margin-top: .55rem; font-size: .9rem; line-height: 1.25; overflow-wrap: anywhere; }
.label { font-size: .78rem; color: var(--soft); }
.score { width: 100%; margin-top: auto; padding-top: .5rem; font-size: .78rem; color: var(--soft); font-variant-numeric: tabular-nums; }
meter { display: block; width: 100%; height: .4rem; margin-bottom: .2rem; }
meter::-webkit-meter-bar { background: var(--line); border: 0; border-radius: 1rem; height: .4rem; }
meter::-webkit-meter-optimum-value { background: var(--accent); border-radius: 1rem; }
meter::-moz-meter-bar { background: var(--accent); }
footer { margin-top: 3rem; padding-block: 1rem 2rem; border-top: 1px solid var(--line); font-size: .85rem; color: var(--soft); }
`;
