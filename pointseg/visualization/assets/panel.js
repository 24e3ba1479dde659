"use strict";
// The page around the views: toolbar, legend, tooltip, and what happens on each event.

const byId = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const integer = new Intl.NumberFormat("en-US");

class Page {
  constructor(scene) {
    this.scene = scene;
    this.box = new Box(scene.xyz);
    this.views = [];
    this.linked = true;
    const classKey = ["label", "prediction"].find((key) => scene.byKey.has(key));
    const clip = scene.clip === null ? Infinity : scene.clip;
    this.state = {hidden: new Map(), clip, markerScale: 1, axes: false, shaded: true, classKey};
    this.state.hidden.set("classes", new Set());
    for (const field of scene.fields) this.state.hidden.set(field.key, new Set());
  }

  async start() {
    this.setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    this.buildToolbar();
    await this.showViews(this.scene.views);
  }

  // -- views ---------------------------------------------------------------------------------

  async showViews(keys) {
    for (const view of this.views) Plotly.purge(view.element);
    byId("panes").replaceChildren();
    this.views = keys.map((key) => this.addPane(key));
    // Panes have another shape now: an untouched view is fitted anew, a chosen one is kept.
    const untouched = !this.home || sameCamera(this.camera, this.home);
    if (untouched) this.home = this.camera = this.fitted(this.scene.azimuth, this.scene.elevation);
    for (const view of this.views) view.camera = this.camera;
    for (const button of byId("view-count").children) {
      button.setAttribute("aria-pressed", Number(button.value) === keys.length);
    }
    this.showLegend();
    await this.redraw();
    for (const view of this.views) this.listen(view);
  }

  addPane(key) {
    const select = make("select", {ariaLabel: "Colour by"});
    const groups = new Map();
    for (const {title, key, group} of this.scene.fields) {
      if (group && !groups.has(group)) {
        groups.set(group, make("optgroup", {label: group}));
        select.append(groups.get(group));
      }
      (groups.get(group) ?? select).append(new Option(title, key));
    }
    select.value = key;
    const plot = make("div", {className: "plot"});
    const bar = make("div", {className: "colorbar", hidden: true});
    byId("panes").append(make("div", {className: "pane"}, select, plot, bar));
    const view = new View(this.scene, this.box, this.state, plot);
    view.key = key;
    view.bar = bar;
    select.onchange = () => {
      view.key = select.value;
      this.showLegend();
      this.redraw([view]);
    };
    return view;
  }

  async redraw(views = this.views) {
    document.body.dataset.busy = "1";
    for (const view of views) {
      this.showColorbar(view);
      await view.draw();
    }
    delete document.body.dataset.busy;
    document.body.dataset.drawn = Number(document.body.dataset.drawn ?? 0) + 1;
  }

  fitted(azimuth, elevation) {
    const rows = [];
    const z = this.scene.xyz[2];
    for (let i = 0; i < z.length; i++) if (z[i] <= this.state.clip) rows.push(i);
    const {clientWidth, clientHeight} = this.views[0].element;
    const shape = (clientWidth || 800) / (clientHeight || 600);
    return fittedCamera(this.scene, this.box, rows, azimuth, elevation, shape);
  }

  look(camera, views = this.views) {
    this.camera = camera;
    for (const view of views) view.look(camera);
    this.refineSoon();
  }

  /** Marker sizes follow once the camera rests: changing them redraws everything. */
  refineSoon() {
    clearTimeout(this.refining);
    this.refining = setTimeout(async () => {
      for (const view of this.views) await view.resizeMarkers();
    }, 350);
  }

  listen(view) {
    for (const name of ["plotly_relayouting", "plotly_relayout"]) {
      view.element.on(name, () => this.follow(view));
    }
    view.element.on("plotly_hover", (event) => this.showTooltip(view, event.points[0]));
    view.element.on("plotly_unhover", () => { byId("tooltip").hidden = true; });
    view.element.addEventListener("mouseleave", () => { byId("tooltip").hidden = true; });
    view.element.addEventListener("mousemove", (event) => this.placeTooltip(event));
  }

  /**
   * Take over a view's camera, frame by frame until it rests: it goes on turning for a while after
   * the last event. Events of cameras that this page has set itself change nothing.
   */
  follow(leader) {
    if (this.leader) return;
    if (sameCamera(leader.drawnCamera(), leader.camera)) return;
    this.leader = leader;
    let unchangedSince = performance.now();
    const step = () => {
      if (!this.views.includes(leader)) {
        this.leader = null;
        return;
      }
      const drawn = leader.drawnCamera();
      if (!sameCamera(drawn, leader.camera)) {
        unchangedSince = performance.now();
        this.camera = leader.camera = drawn;
        if (this.linked) for (const view of this.views) if (view !== leader) view.look(this.camera);
      }
      if (performance.now() - unchangedSince < 300) return requestAnimationFrame(step);
      this.leader = null;
      this.refineSoon();
    };
    step();
  }

  // -- toolbar -------------------------------------------------------------------------------

  buildToolbar() {
    const {scene, state} = this;
    for (const count of [1, 2, 3]) {
      const button = make("button", {type: "button", value: count, textContent: count});
      button.title = count === 1 ? "one view" : `${count} views side by side`;
      button.onclick = () => this.showViews(this.keysFor(count));
      byId("view-count").append(button);
    }
    const [low, high] = this.box.ranges[2].map((z) => z - scene.floor);
    // The slider counts steps, so that its last one is exactly "nothing is cut".
    const clip = byId("clip");
    const steps = 200, stepSize = (high - low) / steps;
    Object.assign(clip, {min: 0, max: steps, step: 1});
    clip.value = Math.min(steps, Math.round((state.clip - scene.floor - low) / stepSize));
    const height = () => Number(clip.value) < steps ? low + Number(clip.value) * stepSize : Infinity;
    clip.oninput = () => {
      byId("clip-value").value = height() < Infinity ? `${height().toFixed(2)} m` : "off";
    };
    clip.oninput();
    clip.onchange = () => {
      state.clip = height() + scene.floor;
      this.redraw();
    };
    byId("size").onchange = (event) => {
      state.markerScale = 3 ** Number(event.target.value);
      this.redraw();
    };
    byId("reset").onclick = () => {
      this.home = this.fitted(scene.azimuth, scene.elevation);
      this.look(this.home);
    };
    byId("top").onclick = () => this.look(this.fitted(scene.azimuth, 89.5));
    byId("linked").onchange = (event) => {
      this.linked = event.target.checked;
      if (this.linked) this.look(this.camera);
    };
    byId("shaded").parentElement.hidden = !scene.shading;
    byId("shaded").onchange = (event) => {
      state.shaded = event.target.checked;
      this.redraw();
    };
    byId("axes").onchange = (event) => {
      state.axes = event.target.checked;
      this.redraw();
    };
    byId("theme").onclick = () => {
      this.setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
      if (state.axes) this.redraw();
    };
  }

  setTheme(theme) { document.documentElement.dataset.theme = theme; }

  /** The views shown now, and after them those that are not shown yet. */
  keysFor(count) {
    const keys = this.views.map((view) => view.key);
    const preferred = ["label", "prediction", "error", "rgb", "height"];
    const rest = [...preferred, ...this.scene.byKey.keys()].filter((key) => this.scene.byKey.has(key));
    for (const key of rest) if (!keys.includes(key)) keys.push(key);
    while (keys.length < count) keys.push(keys[0]);
    return keys.slice(0, count);
  }

  // -- legend --------------------------------------------------------------------------------

  showLegend() {
    const {scene, state} = this;
    const sections = [];
    if (state.classKey) sections.push(this.classSection(scene.byKey.get(state.classKey)));
    const shown = new Set(this.views.map((view) => view.key));
    for (const key of shown) {
      const field = scene.byKey.get(key);
      if (field.kind !== "category" || key === "label" || key === "prediction") continue;
      sections.push(this.section(key, field.title, field.categories, false));
    }
    byId("legend").replaceChildren(...sections);
    byId("legend").hidden = !sections.length;
  }

  classSection(field) {
    const predicted = this.scene.byKey.get("prediction")?.categories;
    const rows = field.categories.map((category, code) => ({
      ...category, code, predicted: predicted?.[code].count ?? 0,
    }));
    const present = rows.filter((row) => row.count || row.predicted);
    const scored = present.some((row) => row.iou !== null);
    const section = this.section("classes", "classes", present, scored);
    const notes = [];
    const classes = rows.slice(0, -1);  // the last row is what has no class
    const absent = classes.filter((row) => !present.includes(row)).length;
    if (absent) notes.push(`${absent} of ${classes.length} classes do not occur in this scene.`);
    if (this.scene.byKey.has("label") && predicted) {
      notes.push("Hides by prediction in the prediction view, by label in all others.");
    }
    notes.push("Double-click shows one class alone.");
    section.append(make("p", {className: "hint", textContent: notes.join(" ")}));
    return section;
  }

  section(key, title, categories, scored) {
    const hidden = this.state.hidden.get(key);
    const rows = categories.map((category, i) => ({code: i, ...category}));
    const buttons = new Map(rows.map((row) => [row.code, this.row(row, scored)]));
    const show = () => {
      for (const [code, button] of buttons) button.setAttribute("aria-pressed", !hidden.has(code));
    };
    const change = (codes) => {
      hidden.clear();
      for (const code of codes) hidden.add(code);
      show();
      this.redraw();
    };
    const codes = [...buttons.keys()];
    for (const [code, button] of buttons) {
      button.onclick = (event) => {
        if (event.detail > 1) return;  // the second click of a double-click
        change(hidden.has(code) ? [...hidden].filter((c) => c !== code) : [...hidden, code]);
      };
      button.ondblclick = () => change(codes.filter((c) => c !== code));
    }
    show();
    const all = make("button", {type: "button", textContent: "all", onclick: () => change([])});
    const none = make("button", {type: "button", textContent: "none", onclick: () => change(codes)});
    const head = make("div", {className: "legend-head"}, make("h2", {textContent: title}), all, none);
    const titles = [make("i"), make("i"), make("span", {textContent: "points"})];
    if (scored) titles.push(make("span", {textContent: "IoU"}));
    const columns = make("div", {className: scored ? "columns" : "columns plain"}, ...titles);
    const section = make("section", {}, head, columns, ...buttons.values());
    section.dataset.legend = key;
    return section;
  }

  row({name, color, count, iou, predicted}, scored) {
    const swatch = make("span", {className: "swatch"});
    swatch.style.background = color;
    const cells = [
      swatch, make("span", {className: "name", textContent: name}),
      make("span", {className: "count", textContent: integer.format(count)}),
    ];
    if (scored) {
      const fill = make("i");
      fill.style.width = `${100 * (iou ?? 0)}%`;
      cells.push(iou === null
        ? make("span")
        : make("span", {className: "iou"}, make("span", {className: "bar"}, fill), iou.toFixed(2)));
    }
    const button = make("button", {type: "button", className: scored ? "row" : "row plain"}, ...cells);
    button.dataset.name = name;
    button.title = predicted === undefined
      ? name : `${name}: ${integer.format(count)} points, predicted for ${integer.format(predicted)}`;
    return button;
  }

  showColorbar(view) {
    const {field, bar} = view;
    bar.hidden = field.kind !== "continuous";
    if (bar.hidden) return;
    const stops = this.scene.colorscale.map(([at, color]) => `${color} ${100 * at}%`);
    const gradient = make("div");
    gradient.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
    const digits = Math.max(0, 2 - Math.floor(Math.log10(field.limits[1] - field.limits[0])));
    const [low, high] = field.limits.map((value) => this.number(value, digits));
    const unit = field.unit ? ` ${field.unit}` : "";
    bar.replaceChildren(gradient, make("p", {}, make("span", {textContent: low + unit}),
      make("span", {textContent: high + unit})));
  }

  /** A value with as many digits as its scale deserves. */
  number(value, digits = Infinity) {
    if (Math.abs(value) >= 1e5 || digits > 6 && Math.abs(value) < 1e-4 && value) {
      return value.toExponential(2);
    }
    return String(digits > 6 ? +value.toPrecision(4) : +value.toFixed(digits));
  }

  // -- tooltip -------------------------------------------------------------------------------

  showTooltip(view, {curveNumber, pointNumber}) {
    const row = view.rows[curveNumber]?.[pointNumber];
    if (row === undefined) return;
    const {scene} = this;
    const list = make("dl");
    const add = (name, ...value) => list.append(make("dt", {textContent: name}), make("dd", {}, ...value));
    add("point", integer.format(scene.index ? scene.index[row] : row));
    add("x, y, z", scene.xyz.map((v, k) => (v[row] + scene.origin[k]).toFixed(3)).join(", ") + " m");
    const shown = new Set(["label", "prediction", ...this.views.map((other) => other.key)]);
    for (const key of shown) {
      const field = scene.byKey.get(key);
      if (field && key !== "error") add(field.title, ...this.valueOf(field, row));
    }
    byId("tooltip").replaceChildren(list);
    byId("tooltip").hidden = false;
  }

  valueOf(field, row) {
    if (field.kind === "continuous") {
      return [`${this.number(field.values[row])}${field.unit ? ` ${field.unit}` : ""}`];
    }
    const swatch = make("span", {className: "swatch"});
    if (field.kind === "color") {
      const rgb = Array.from(field.values.subarray(3 * row, 3 * row + 3));
      swatch.style.background = `rgb(${rgb})`;
      return [swatch, rgb.join(", ")];
    }
    const {name, color} = field.categories[field.values[row]];
    swatch.style.background = color;
    return [swatch, name];
  }

  placeTooltip(event) {
    const tooltip = byId("tooltip");
    const {offsetWidth, offsetHeight} = tooltip;
    const left = event.clientX + 16 + offsetWidth > innerWidth ? event.clientX - 16 - offsetWidth : event.clientX + 16;
    const top = Math.min(event.clientY + 16, innerHeight - offsetHeight - 8);
    Object.assign(tooltip.style, {left: `${left}px`, top: `${top}px`});
  }
}

async function main() {
  const notice = byId("notice");
  try {
    if (!window.DecompressionStream) throw new Error("this page needs a browser of 2023 or later");
    const scene = await loadScene();
    await loadPlotly();
    notice.hidden = true;
    window.page = new Page(scene);
    await window.page.start();
    document.body.dataset.ready = "1";
  } catch (error) {
    notice.hidden = false;
    notice.textContent = `This scene cannot be shown: ${error.message}`;
    document.body.dataset.failed = error.message;
    throw error;
  }
}
main();
