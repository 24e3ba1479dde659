"use strict";
// From the text blocks of the page to a library and typed arrays.

async function inflate(elementId) {
  const element = document.getElementById(elementId);
  const binary = atob(element.textContent);
  element.textContent = "";  // a second copy of everything would stay in memory
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function loadPlotly() {
  const source = new TextDecoder().decode(await inflate("plotly"));
  const script = document.createElement("script");
  script.textContent = source;
  document.head.append(script);
}

const ARRAY_TYPES = {
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array,
};

async function loadScene() {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const buffer = await inflate("data");
  const columns = {};
  for (const [name, {dtype, offset, length}] of Object.entries(scene.columns)) {
    columns[name] = new ARRAY_TYPES[dtype](buffer, offset, length);
  }
  const {low, step} = scene.xyz;
  const axis = (codes, k) => Float32Array.from(codes, (code) => low[k] + code * step[k]);
  const xyz = [axis(columns.x, 0), axis(columns.y, 1), axis(columns.z, 2)];
  for (const field of scene.fields) {
    field.values = field.column === null
      ? xyz[2].map((z) => z - scene.floor)
      : columns[field.column];
  }
  const byKey = new Map(scene.fields.map((field) => [field.key, field]));
  return {...scene, xyz, index: columns.index, shading: columns.shading, byKey};
}
