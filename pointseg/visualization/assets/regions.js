"use strict";
// Regions of codebook entries: one card an entry, one button a stride, cameras linked.

const CAMERA = {
  eye: {x: 1.15, y: -1.5, z: 0.85}, center: {x: 0, y: 0, z: 0}, up: {x: 0, y: 0, z: 1},
  projection: {type: "orthographic"},
};
const CENTRE_COLOR = "#2b3038";
const HALF = 0.45;  // of a voxel: a gap between neighbours lets each be seen

// Corner i of a cube: bit 0 is x, bit 1 is y, bit 2 is z. Two triangles a side: below, above, then
// those across y and across x, each with its brightness.
const FACES = [
  [0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4],
  [2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5],
];
const BRIGHTNESS = [0.6, 0.6, 1.12, 1.12, 0.92, 0.92, 0.92, 0.92, 0.74, 0.74, 0.74, 0.74];
const EDGES = [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6], [3, 7]];

function corners([x, y, z]) {
  return Array.from({length: 8}, (_, i) => [
    x + (i & 1 ? HALF : -HALF), y + (i & 2 ? HALF : -HALF), z + (i & 4 ? HALF : -HALF),
  ]);
}

function shaded(color, brightness) {
  const channel = (at) => Math.min(255, Math.round(brightness * parseInt(color.slice(at, at + 2), 16)));
  return `rgb(${channel(1)},${channel(3)},${channel(5)})`;
}

function cubes(offsets, color) {
  const mesh = {
    type: "mesh3d", x: [], y: [], z: [], i: [], j: [], k: [], facecolor: [], flatshading: true,
    hoverinfo: "skip", lighting: {ambient: 1, diffuse: 0, specular: 0, fresnel: 0},
  };
  const lines = {
    type: "scatter3d", mode: "lines", x: [], y: [], z: [], hoverinfo: "skip",
    line: {color: "rgba(0,0,0,0.35)", width: 1.5},
  };
  for (const offset of offsets) {
    const first = mesh.x.length;
    const points = corners(offset);
    for (const [x, y, z] of points) { mesh.x.push(x); mesh.y.push(y); mesh.z.push(z); }
    const own = offset.every((v) => v === 0) ? CENTRE_COLOR : color;
    FACES.forEach(([a, b, c], face) => {
      mesh.i.push(first + a); mesh.j.push(first + b); mesh.k.push(first + c);
      mesh.facecolor.push(shaded(own, BRIGHTNESS[face]));
    });
    for (const edge of EDGES) {
      for (const corner of edge) {
        lines.x.push(points[corner][0]); lines.y.push(points[corner][1]); lines.z.push(points[corner][2]);
      }
      lines.x.push(null); lines.y.push(null); lines.z.push(null);
    }
  }
  return [mesh, lines];
}

function layout(reach, camera) {
  const style = getComputedStyle(document.documentElement);
  const axis = (name) => ({
    title: {text: name}, range: [-reach - 0.7, reach + 0.7], dtick: 1, showticklabels: false,
    color: style.getPropertyValue("--muted"), gridcolor: style.getPropertyValue("--line"),
    zeroline: false, showspikes: false, showbackground: false,
  });
  return {
    margin: {l: 0, r: 0, t: 0, b: 0}, showlegend: false, paper_bgcolor: "rgba(0,0,0,0)",
    scene: {
      xaxis: axis("x"), yaxis: axis("y"), zaxis: axis("z"), aspectmode: "manual",
      aspectratio: {x: 1.25, y: 1.25, z: 1.25}, camera,
    },
  };
}

// The camera of the picture on the screen, which may lag behind what was asked for.
function drawnCamera(plot) {
  const {eye, center, up, projection} = plot._fullLayout.scene._scene.getCamera();
  return {eye, center, up, projection};
}

// Whether two cameras show the same picture; plotly's own arithmetic changes the last digits.
function sameCamera(a, b) {
  return ["eye", "center", "up"].every((part) =>
    ["x", "y", "z"].every((axis) => Math.abs(a[part][axis] - b[part][axis]) < 1e-7));
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;

function card(region, index) {
  const element = document.createElement("article");
  element.className = "card";
  const heading = document.createElement("h2");
  const swatch = document.createElement("span");
  swatch.className = "swatch";
  swatch.style.background = region.color;
  const kernel = document.createElement("span");
  kernel.className = "kernel";
  kernel.textContent = `${region.offsets.length} taps of ${region.kernel}`;
  heading.append(swatch, `entry ${index}`, kernel);
  const list = document.createElement("dl");
  for (const [name, value] of [
    ["occupied, mean", region.mean.toFixed(3)], ["deviation", region.std.toFixed(3)],
    ["preferred by", percent(region.preferred)],
  ]) {
    const term = document.createElement("dt");
    term.textContent = name;
    const text = document.createElement("dd");
    text.textContent = value;
    list.append(term, text);
  }
  const bar = document.createElement("div");
  bar.className = "bar";
  const filled = document.createElement("i");
  filled.style.width = `${100 * region.preferred}%`;
  filled.style.background = region.color;
  bar.append(filled);
  list.append(bar);
  const plot = document.createElement("div");
  plot.className = "plot";
  element.append(heading, plot, list);
  return {element, plot};
}

class RegionsPage {
  constructor(regions) {
    this.screens = regions.screens;
    this.camera = CAMERA;
    this.plots = [];
    this.leader = null;  // the plot that a hand is on
    this.following = false;
    this.cards = document.getElementById("cards");
    const buttons = document.getElementById("stages");
    this.screens.forEach((screen, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = screen.title;
      button.addEventListener("click", () => this.show(index));
      buttons.append(button);
    });
    this.buttons = [...buttons.children];
    document.getElementById("reset").addEventListener("click", () => {
      this.leader = null;
      this.look(CAMERA, this.plots);
    });
    const root = document.documentElement;
    root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
      this.show(this.shown);
    });
  }

  async show(index) {
    document.body.dataset.busy = "yes";
    this.shown = index;
    const screen = this.screens[index];
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
    document.getElementById("scores").textContent = screen.statement;
    // A browser keeps few drawing contexts: those of the last stride are given back first.
    this.plots.forEach((plot) => Plotly.purge(plot));
    this.cards.replaceChildren();
    const made = screen.regions.map((region, i) => card(region, screen.first + i));
    this.cards.append(...made.map(({element}) => element));
    this.plots = made.map(({plot}) => plot);
    const reach = Math.max(...screen.regions.flatMap((r) => r.offsets.flat().map(Math.abs)));
    for (const [i, plot] of made.map(({plot}) => plot).entries()) {
      if (this.cards.children[0] !== made[0].element) return;  // another stride was asked for
      const region = screen.regions[i];
      await Plotly.newPlot(plot, cubes(region.offsets, region.color), layout(reach, this.camera), {
        displayModeBar: false, responsive: true,
      });
      // Plots that are turned along say so, too: only the one that a hand is on leads.
      const lead = () => { this.leader = plot; };
      plot.addEventListener("pointerdown", lead, true);
      plot.addEventListener("wheel", lead, {capture: true, passive: true});
      const follow = () => { if (plot === this.leader) this.follow(); };
      plot.on("plotly_relayouting", follow);
      plot.on("plotly_relayout", follow);
    }
    delete document.body.dataset.busy;
  }

  async look(camera, plots) {
    this.camera = camera;
    await Promise.all(plots.map((plot) => Plotly.relayout(plot, {"scene.camera": camera})));
  }

  // Turn the others along with the leader until it rests: it goes on for a while after the last
  // event.
  async follow() {
    if (this.following) return;
    this.following = true;
    document.body.dataset.busy = "yes";
    let still = 0;
    let since = performance.now();
    while (this.plots.includes(this.leader) && (still < 10 || performance.now() - since < 300)) {
      const drawn = drawnCamera(this.leader);
      if (sameCamera(drawn, this.camera)) {
        still += 1;
      } else {
        still = 0;
        since = performance.now();
        const leader = this.leader;
        await this.look(drawn, this.plots.filter((plot) => plot !== leader));
      }
      await new Promise(requestAnimationFrame);
    }
    this.following = false;
    delete document.body.dataset.busy;
  }
}

async function main() {
  try {
    await loadPlotly();
    window.page = new RegionsPage(JSON.parse(document.getElementById("regions").textContent));
    document.getElementById("notice").hidden = true;
    await window.page.show(0);
    document.body.dataset.ready = "yes";
  } catch (error) {
    const notice = document.getElementById("notice");
    notice.hidden = false;
    notice.textContent = `This page cannot be shown: ${error.message}`;
    document.body.dataset.failed = error.message;
  }
}

main();
