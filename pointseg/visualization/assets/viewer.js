"use strict";
// Views of a scene: which points are drawn, in which colours, from where.

const FIELD_OF_VIEW = Math.PI / 4;  // vertical; plotly's own
const UP = {x: 0, y: 0, z: 1};

/** The cube that plotly draws in: metres -> its units, the same for every view. */
class Box {
  constructor(xyz) {
    const bounds = xyz.map((values) => {
      let low = Infinity, high = -Infinity;
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
      return low <= high ? [low, high] : [0, 1];
    });
    const pad = 1e-3 * Math.max(1e-3, ...bounds.map(([low, high]) => high - low));
    this.ranges = bounds.map(([low, high]) => [low - pad, high + pad]);
    const extents = this.ranges.map(([low, high]) => high - low);
    this.scale = Math.max(...extents);
    this.aspect = {x: extents[0] / this.scale, y: extents[1] / this.scale, z: extents[2] / this.scale};
    this.middle = this.ranges.map(([low, high]) => (low + high) / 2);
  }
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const asPoint = ([x, y, z]) => ({x, y, z});

/** Whether two cameras show the same picture; plotly's own arithmetic changes the last digits. */
function sameCamera(a, b) {
  return Boolean(a && b) && ["eye", "center", "up"].every((part) =>
    ["x", "y", "z"].every((axis) => Math.abs(a[part][axis] - b[part][axis]) < 1e-7));
}

/** A camera that looks along a direction and has nearly all points of the scene in its picture. */
function fittedCamera(scene, box, rows, azimuthDeg, elevationDeg, widthOverHeight) {
  const azimuth = azimuthDeg * Math.PI / 180, elevation = elevationDeg * Math.PI / 180;
  const back = [
    Math.cos(elevation) * Math.cos(azimuth), Math.cos(elevation) * Math.sin(azimuth),
    Math.sin(elevation),
  ];
  const right = [-Math.sin(azimuth), Math.cos(azimuth), 0];
  const above = [
    -Math.sin(elevation) * Math.cos(azimuth), -Math.sin(elevation) * Math.sin(azimuth),
    Math.cos(elevation),
  ];
  const tangent = Math.tan(FIELD_OF_VIEW / 2);
  const seen = [];
  const stride = Math.max(1, Math.floor(rows.length / 4000));
  for (let i = 0; i < rows.length; i += stride) {
    const p = [0, 1, 2].map((k) => (scene.xyz[k][rows[i]] - box.middle[k]) / box.scale);
    seen.push([dot(p, right) / (tangent * widthOverHeight), dot(p, above) / tangent, dot(p, back)]);
  }
  if (!seen.length) seen.push([1, 1, 0], [-1, -1, 0]);
  // A few stray points, seen through a window perhaps, may stay outside the picture.
  const reach = (values) => values.sort((a, b) => a - b)[Math.floor(0.998 * (values.length - 1))];
  const sides = (k) => [
    reach(seen.map((p) => p[k] + p[2])), reach(seen.map((p) => -p[k] + p[2])),
  ];
  const [toRight, toLeft] = sides(0), [toTop, toBottom] = sides(1);
  const offset = [(toRight - toLeft) / 2 * tangent * widthOverHeight, (toTop - toBottom) / 2 * tangent];
  const distance = 1.09 * Math.max((toRight + toLeft) / 2, (toTop + toBottom) / 2);
  const center = [0, 1, 2].map((k) => right[k] * offset[0] + above[k] * offset[1]);
  const eye = center.map((value, k) => value + back[k] * distance);
  return {eye: asPoint(eye), center: asPoint(center), up: UP, projection: {type: "perspective"}};
}

/** Colours as CSS text, made once for each of 32768 shades. */
const shades = new Map();
function shade(red, green, blue) {
  const key = (red >> 3) << 10 | (green >> 3) << 5 | blue >> 3;
  let text = shades.get(key);
  if (text === undefined) shades.set(key, text = `rgb(${red},${green},${blue})`);
  return text;
}

class View {
  /** `state` is shared by all views: hidden classes, height cut, point size, theme. */
  constructor(scene, box, state, element) {
    Object.assign(this, {scene, box, state, element, rows: [], camera: null});
  }

  get field() { return this.scene.byKey.get(this.key); }

  /** Rows that the height cut and the legends leave, as one list for each trace. */
  selectRows() {
    const {scene, state, field} = this;
    const z = scene.xyz[2];
    const classes = scene.byKey.get(this.key === "prediction" ? "prediction" : state.classKey);
    const hiddenClasses = state.hidden.get("classes");
    const own = field.kind === "category";
    const hiddenOwn = own && field !== classes ? state.hidden.get(field.key) : null;
    const counts = new Uint32Array(own ? field.categories.length : 1);
    const kept = [];
    for (let i = 0; i < z.length; i++) {
      if (z[i] > state.clip) continue;
      if (classes && hiddenClasses.has(classes.values[i])) continue;
      if (hiddenOwn && hiddenOwn.has(field.values[i])) continue;
      kept.push(i);
      counts[own ? field.values[i] : 0]++;
    }
    const lists = Array.from(counts, (count) => new Uint32Array(count));
    counts.fill(0);
    for (const i of kept) {
      const list = own ? field.values[i] : 0;
      lists[list][counts[list]++] = i;
    }
    return lists;
  }

  traces(lists) {
    const {field, scene} = this;
    if (field.kind === "category") {
      return lists.map((rows, code) => {
        const color = this.shaded(rows, field.categories[code].color);
        return this.trace(rows, {color}, code);
      });
    }
    const rows = lists[0];
    if (field.kind === "color") {
      const v = field.values;
      const color = Array.from(rows, (i) => shade(v[3 * i], v[3 * i + 1], v[3 * i + 2]));
      return [this.trace(rows, {color}, 0)];
    }
    const known = rows.filter((i) => !Number.isNaN(field.values[i]));
    const missing = rows.filter((i) => Number.isNaN(field.values[i]));
    const [cmin, cmax] = field.limits;
    const color = Float32Array.from(known, (i) => field.values[i]);
    return [
      this.trace(known, {color, colorscale: scene.colorscale, cmin, cmax, showscale: false}, 0),
      this.trace(missing, {color: scene.missingColor}, 1),
    ];
  }

  /** A class colour, darker on surfaces that are turned away from the light. */
  shaded(rows, color) {
    const brightness = this.scene.shading;
    if (!brightness || !this.state.shaded) return color;
    const rgb = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
    const levels = Array.from({length: 32}, (_, level) =>
      `rgb(${rgb.map((value) => Math.round(value * (level + 0.5) / 31.5))})`);
    return Array.from(rows, (i) => levels[brightness[i] >> 3]);
  }

  trace(rows, marker, code) {
    const [x, y, z] = this.scene.xyz.map((values) => Float32Array.from(rows, (i) => values[i]));
    return {
      type: "scatter3d", mode: "markers", x, y, z, rows, code, hoverinfo: "none", showlegend: false,
      // Squares are two triangles a point; round markers are many times as much work to draw.
      marker: {symbol: "square", line: {width: 0}, opacity: 1, size: this.markerSize(), ...marker},
    };
  }

  /** Marker edge in pixels at which neighbouring points just touch, seen from the camera's distance. */
  markerSize() {
    const {eye, center} = this.camera;
    const distance = Math.hypot(eye.x - center.x, eye.y - center.y, eye.z - center.z);
    const height = this.element.clientHeight || 600;
    const unit = height / (2 * Math.tan(FIELD_OF_VIEW / 2) * Math.max(distance, 0.02));
    const size = this.state.markerScale * 1.1 * unit * this.scene.spacing / this.box.scale;
    return Math.min(24, Math.max(1, Math.round(size * 4) / 4));
  }

  layout() {
    const {box, state} = this;
    const style = getComputedStyle(document.documentElement);
    const line = style.getPropertyValue("--line"), muted = style.getPropertyValue("--muted");
    const axis = (range) => ({
      visible: state.axes, range, autorange: false, showspikes: false, showbackground: false,
      gridcolor: line, zerolinecolor: line, color: muted, title: {text: ""}, ticksuffix: " m",
      nticks: 6,
    });
    return {
      margin: {l: 0, r: 0, t: 0, b: 0}, paper_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      autosize: true, uirevision: "fixed",
      scene: {
        aspectmode: "manual", aspectratio: box.aspect, dragmode: "turntable", hovermode: "closest",
        camera: this.camera,
        xaxis: axis(box.ranges[0]), yaxis: axis(box.ranges[1]), zaxis: axis(box.ranges[2]),
      },
    };
  }

  async draw() {
    // A picture without points would lose its 3D axes, so an invisible one is always there.
    const anchor = {
      type: "scatter3d", mode: "markers", hoverinfo: "skip", showlegend: false, opacity: 0, rows: [],
      x: [this.box.middle[0]], y: [this.box.middle[1]], z: [this.box.middle[2]],
      marker: {size: 1, color: "#888"},
    };
    const drawn = this.traces(this.selectRows()).filter((trace) => trace.rows.length);
    const traces = [anchor, ...drawn];
    this.rows = traces.map((trace) => trace.rows);
    this.drawnSize = this.markerSize();
    const config = {displayModeBar: false, responsive: true, displaylogo: false, scrollZoom: true};
    const plain = traces.map(({rows, code, ...trace}) => trace);
    await Plotly.react(this.element, plain, this.layout(), config);
  }

  /** Points keep touching when the camera comes nearer or goes away. */
  async resizeMarkers() {
    const size = this.markerSize();
    if (Math.abs(size - this.drawnSize) < 0.2 * this.drawnSize) return;
    this.drawnSize = size;
    const traces = this.rows.map((_, i) => i).slice(1);
    if (traces.length) await Plotly.restyle(this.element, {"marker.size": size}, traces);
  }

  /** The camera of the picture on the screen, which may lag behind or run ahead of `camera`. */
  drawnCamera() {
    const {eye, center, up, projection} = this.element._fullLayout.scene._scene.getCamera();
    return {eye, center, up, projection};
  }

  async look(camera) {
    this.camera = camera;
    if (this.element.layout) await Plotly.relayout(this.element, {"scene.camera": camera});
  }
}
