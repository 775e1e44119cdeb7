// The 3-D view of the page: unpacks the points, draws them with WebGL 2, and listens to mouse, touch, keys and panel.
"use strict";
(async () => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const viewer = document.getElementById("viewer");
  const canvas = document.getElementById("canvas");
  const panel = document.getElementById("panel");
  const status = document.getElementById("status");
  const say = (text) => { status.textContent = text; };
  const number = (value) => value.toLocaleString("en");

  // --- unpacking ----------------------------------------------------------------------------------------------------

  // A column is base64 of gzip of differences: the low bytes of all points first, then, of 16 bits, the high bytes.
  async function unpack(name) {
    const element = document.getElementById("data-" + name);
    if (!element) return null;
    const text = atob(element.textContent);
    element.remove();
    const zipped = new Uint8Array(text.length);
    for (let i = 0; i < zipped.length; i++) zipped[i] = text.charCodeAt(i);
    const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // Column by column into the two arrays of the graphics card: places (x, y, z, classes) and looks (r, g, b, confidence).
  async function allPoints() {
    const places = new Uint16Array(4 * facts.points);
    const looks = new Uint8Array(4 * facts.points);
    for (const [axis, name] of ["x", "y", "z"].entries()) {
      const bytes = await unpack(name);
      for (let i = 0, value = 0; i < facts.points; i++) {
        value = (value + bytes[i] + 256 * bytes[facts.points + i]) & 0xffff;
        places[4 * i + axis] = value;
      }
    }
    for (const [channel, name] of ["red", "green", "blue", "confidence"].entries()) {
      const bytes = await unpack(name);
      if (!bytes) continue;
      for (let i = 0, value = 0; i < facts.points; i++) looks[4 * i + channel] = value = (value + bytes[i]) & 0xff;
    }
    for (const [place, name] of ["prediction", "truth"].entries()) {
      const bytes = await unpack(name);
      for (let i = 0, value = 0; i < facts.points; i++) {
        value = bytes ? (value + bytes[i]) & 0xff : 255;
        places[4 * i + 3] |= value << (8 * place);
      }
    }
    return { places, looks };
  }

  // --- drawing ------------------------------------------------------------------------------------------------------

  const COLORINGS = ["scan", "prediction", "truth", "errors", "confidence"];
  const POINTS = `#version 300 es
    precision highp float;
    precision highp int;
    layout(location = 0) in uvec4 place; // x, y, z in steps; prediction in the low byte, label in the high byte
    layout(location = 1) in vec4 looks; // red, green, blue, confidence
    uniform mat4 camera;
    uniform float meters; // of a step
    uniform float diameter; // of a point, in pixels at a distance of a metre
    uniform float most; // pixels
    uniform int coloring;
    uniform uint shown[8]; // a bit for each class
    uniform vec3 boxLow, boxHigh; // the place that is looked at: what is outside is pale, what is before it is left out
    uniform float front;
    uniform sampler2D palette; // rows: classes, confidence, right and wrong
    flat out vec3 color;
    void main() {
      uint prediction = place.w & 255u, truth = place.w >> 8u;
      uint label = coloring == 2 ? truth : prediction;
      vec3 p = vec3(place.xyz) * meters;
      gl_Position = camera * vec4(p, 1.0);
      gl_PointSize = clamp(diameter / gl_Position.w, 1.5, most);
      bool outside = any(lessThan(p, boxLow)) || any(greaterThan(p, boxHigh));
      bool hidden = ((shown[label >> 5u] >> (label & 31u)) & 1u) == 0u;
      if (hidden || (outside && gl_Position.w < front)) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
      if (coloring == 0) color = looks.rgb;
      else if (coloring == 1) color = texelFetch(palette, ivec2(prediction, 0), 0).rgb;
      else if (coloring == 2) color = texelFetch(palette, ivec2(truth, 0), 0).rgb;
      else if (coloring == 3)
        color = texelFetch(palette, ivec2(truth == 255u ? 2 : prediction == truth ? 0 : 1, 2), 0).rgb;
      else color = texelFetch(palette, ivec2(int(looks.a * 255.0 + 0.5), 1), 0).rgb;
      if (outside) color = mix(color, vec3(0.62), 0.75);
    }`;
  const DISC = `#version 300 es
    precision mediump float;
    flat in vec3 color;
    out vec4 pixel;
    void main() {
      vec2 from = 2.0 * gl_PointCoord - 1.0;
      if (dot(from, from) > 1.0) discard;
      pixel = vec4(color, 1.0);
    }`;
  const WHOLE = `#version 300 es
    void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }`;
  // Pixels that lie behind their neighbours become darker (eye-dome lighting), so that edges and corners can be seen.
  const SHADE = `#version 300 es
    precision highp float;
    uniform sampler2D picture, depths;
    uniform vec2 range; // near and far
    uniform float strength;
    out vec4 pixel;
    float farness(ivec2 at) {
      at = clamp(at, ivec2(0), textureSize(depths, 0) - 1);
      float depth = 2.0 * texelFetch(depths, at, 0).r - 1.0;
      return log2(2.0 * range.x * range.y / (range.y + range.x - depth * (range.y - range.x)));
    }
    void main() {
      ivec2 at = ivec2(gl_FragCoord.xy);
      vec4 color = texelFetch(picture, at, 0);
      if (color.a == 0.0) { pixel = vec4(0.0); return; }
      float here = farness(at), behind = 0.0;
      for (int i = 0; i < 4; i++) {
        ivec2 aside = ivec2(i < 2 ? 2 * i - 1 : 0, i < 2 ? 0 : 2 * i - 5);
        behind += clamp(here - farness(at + 2 * aside), 0.0, 0.2) + clamp(here - farness(at + aside), 0.0, 0.2);
      }
      pixel = vec4(color.rgb * exp(-strength * behind), 1.0);
    }`;

  let gl, pointProgram, shadeProgram, pointUniforms, shadeUniforms, pointArray, noArray, buffer, target;

  function compile(vertex, fragment) {
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "no shader");
    const uniforms = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const name = gl.getActiveUniform(program, i).name.replace("[0]", "");
      uniforms[name] = gl.getUniformLocation(program, name);
    }
    return [program, uniforms];
  }

  function setUp(points) {
    [pointProgram, pointUniforms] = compile(POINTS, DISC);
    [shadeProgram, shadeUniforms] = compile(WHOLE, SHADE);
    noArray = gl.createVertexArray();
    pointArray = gl.createVertexArray();
    gl.bindVertexArray(pointArray);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, points.places, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribIPointer(0, 4, gl.UNSIGNED_SHORT, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, points.looks, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 0, 0);
    const palette = new Uint8Array(3 * 256 * 4);
    for (const [row, colors] of [facts.classColors, facts.ramp, facts.errorColors].entries())
      for (const [column, color] of colors.entries()) palette.set([...color, 255], 4 * (256 * row + column));
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, texture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 3, 0, gl.RGBA, gl.UNSIGNED_BYTE, palette);
    buffer = gl.createFramebuffer();
    target = null;
  }

  function texture() {
    const made = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, made);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return made;
  }

  // The picture and the depth that the points are drawn into, as large as the canvas is now.
  function fitTarget() {
    const sharpness = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * sharpness));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * sharpness));
    if (target && target.width === canvas.width && target.height === canvas.height) return;
    if (target) target.textures.forEach((old) => gl.deleteTexture(old));
    const { width, height } = canvas;
    gl.activeTexture(gl.TEXTURE1);
    const picture = texture();
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, width, height);
    gl.activeTexture(gl.TEXTURE2);
    const depths = texture();
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.DEPTH_COMPONENT24, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, buffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, picture, 0);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.TEXTURE_2D, depths, 0);
    target = { width, height, textures: [picture, depths] };
  }

  // --- the camera: it turns about a point of the scan, z is up -------------------------------------------------------

  const FOCAL = 1 / Math.tan((40 * Math.PI) / 360);
  const view = { at: [0, 0, 0], yaw: 0, pitch: 0, distance: 1 };
  const scanSize = Math.max(0.5, Math.hypot(...facts.high.map((value, axis) => value - facts.low[axis])));

  function axesOf({ yaw, pitch }) {
    const back = [Math.cos(pitch) * Math.cos(yaw), Math.cos(pitch) * Math.sin(yaw), Math.sin(pitch)];
    const right = [-Math.sin(yaw), Math.cos(yaw), 0];
    return { right, back, up: [
      back[1] * right[2] - back[2] * right[1], back[2] * right[0] - back[0] * right[2], back[0] * right[1] - back[1] * right[0],
    ] };
  }
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const aspect = () => canvas.clientWidth / Math.max(1, canvas.clientHeight);

  // Looks down at the whole scan, its longer side from left to right.
  function firstView() {
    const size = facts.high.map((value, axis) => value - facts.low[axis]);
    const first = {
      at: facts.low.map((value, axis) => value + size[axis] / 2),
      yaw: ((size[0] >= size[1] ? -70 : 20) * Math.PI) / 180,
      pitch: (60 * Math.PI) / 180,
      distance: 0.1,
    };
    const { right, up, back } = axesOf(first);
    for (let corner = 0; corner < 8; corner++) {
      const from = size.map((value, axis) => (((corner >> axis) & 1) - 0.5) * value);
      const aside = Math.max(Math.abs(dot(from, right)) / aspect(), Math.abs(dot(from, up)));
      first.distance = Math.max(first.distance, dot(from, back) + 1.06 * FOCAL * aside);
    }
    return first;
  }

  function cameraMatrix(near, far) {
    const { right, up, back } = axesOf(view);
    const eye = view.at.map((value, axis) => value + view.distance * back[axis]);
    const across = FOCAL / aspect(), deep = (far + near) / (far - near);
    const matrix = new Float32Array(16);
    for (let axis = 0; axis < 3; axis++) {
      matrix[4 * axis] = across * right[axis];
      matrix[4 * axis + 1] = FOCAL * up[axis];
      matrix[4 * axis + 2] = -deep * back[axis];
      matrix[4 * axis + 3] = -back[axis];
    }
    matrix[12] = -across * dot(right, eye);
    matrix[13] = -FOCAL * dot(up, eye);
    matrix[14] = deep * dot(back, eye) - (2 * far * near) / (far - near);
    matrix[15] = dot(back, eye);
    return matrix;
  }

  // --- what is shown ------------------------------------------------------------------------------------------------

  const state = { coloring: 1, mask: new Uint32Array(8), size: 1, shading: true, place: null };
  const hands = facts.hands; // the first 1, 2, ... hands of points together; each number of hands is the scan, but thinner
  let movingHands = hands.length, movedAt = -Infinity, asked = false, lastFrame = 0, flight = null, resting = 0;

  function ask() {
    if (asked || !gl) return;
    asked = true;
    requestAnimationFrame(frame);
  }
  function move() {
    movedAt = performance.now();
    clearTimeout(resting);
    resting = setTimeout(ask, 200); // all points are drawn as soon as nothing moves
    ask();
  }

  function frame(now) {
    asked = false;
    if (gl.isContextLost()) return;
    if (flight) fly(now);
    const moving = performance.now() - movedAt < 150;
    if (moving && now - lastFrame < 400) {
      const spent = now - lastFrame;
      if (spent > 45 && movingHands > 1) movingHands = Math.max(1, Math.floor(movingHands * 0.7));
      else if (spent < 22 && movingHands < hands.length) movingHands++;
    }
    lastFrame = now;
    draw(hands[(moving ? movingHands : hands.length) - 1]);
  }

  function draw(count) {
    fitTarget();
    const near = Math.max(0.02, view.distance / 200), far = near + view.distance + 4 * scanSize;
    const half = state.place ? state.place.low.map((value, axis) => (state.place.high[axis] - value) / 2) : null;
    gl.bindFramebuffer(gl.FRAMEBUFFER, buffer);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(pointProgram);
    gl.uniformMatrix4fv(pointUniforms.camera, false, cameraMatrix(near, far));
    gl.uniform1f(pointUniforms.meters, facts.step);
    const spacing = facts.spacing * Math.sqrt(facts.points / Math.max(count, 1));
    gl.uniform1f(pointUniforms.diameter, (state.size * 2.2 * spacing * FOCAL * canvas.height) / 2);
    gl.uniform1f(pointUniforms.most, 48 * Math.min(window.devicePixelRatio || 1, 2));
    gl.uniform1i(pointUniforms.coloring, state.coloring);
    gl.uniform1uiv(pointUniforms.shown, state.mask);
    gl.uniform3fv(pointUniforms.boxLow, state.place ? state.place.low : [-1e9, -1e9, -1e9]);
    gl.uniform3fv(pointUniforms.boxHigh, state.place ? state.place.high : [1e9, 1e9, 1e9]);
    gl.uniform1f(pointUniforms.front, half ? view.distance - Math.hypot(...half) : 0);
    gl.uniform1i(pointUniforms.palette, 0);
    gl.bindVertexArray(pointArray);
    gl.drawArrays(gl.POINTS, 0, count);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(shadeProgram);
    gl.uniform1i(shadeUniforms.picture, 1);
    gl.uniform1i(shadeUniforms.depths, 2);
    gl.uniform2f(shadeUniforms.range, near, far);
    gl.uniform1f(shadeUniforms.strength, state.shading ? 1.6 : 0);
    gl.bindVertexArray(noArray);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  // --- moving -------------------------------------------------------------------------------------------------------

  function turn(sideways, up) {
    view.yaw -= sideways;
    view.pitch = Math.min(1.57, Math.max(-1.57, view.pitch + up));
  }
  function shift(sideways, up) { // in parts of the height of the view
    const { right, up: upwards } = axesOf(view), reach = (2 * view.distance) / FOCAL;
    view.at = view.at.map((value, axis) => value - reach * (sideways * right[axis] - up * upwards[axis]));
  }
  function zoom(factor) {
    view.distance = Math.min(20 * scanSize, Math.max(0.05, view.distance * factor));
  }
  function flyTo(goal) {
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    let around = (goal.yaw - view.yaw) % (2 * Math.PI);
    if (around > Math.PI) around -= 2 * Math.PI;
    if (around < -Math.PI) around += 2 * Math.PI;
    flight = { from: { ...view }, goal: { ...goal, yaw: view.yaw + around }, began: performance.now(), takes: still ? 1 : 700 };
    move();
  }
  function fly(now) {
    const part = Math.min(1, Math.max(0, (now - flight.began) / flight.takes)), smooth = part * part * (3 - 2 * part);
    const { from, goal } = flight;
    const between = (a, b) => a + (b - a) * smooth;
    view.at = from.at.map((value, axis) => between(value, goal.at[axis]));
    view.yaw = between(from.yaw, goal.yaw);
    view.pitch = between(from.pitch, goal.pitch);
    view.distance = Math.exp(between(Math.log(from.distance), Math.log(goal.distance)));
    if (part >= 1) flight = null;
    move();
  }

  const fingers = new Map();
  function middleAndSpread() {
    const [a, b] = [...fingers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, spread: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
  }
  function drag(event) {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const height = canvas.clientHeight, now = { x: event.clientX, y: event.clientY, moves: before.moves };
    flight = null;
    if (fingers.size === 1) {
      const x = (now.x - before.x) / height, y = (now.y - before.y) / height;
      if (before.moves) shift(x, y);
      else turn(4 * x, 4 * y);
      fingers.set(event.pointerId, now);
    } else if (fingers.size === 2) {
      const old = middleAndSpread();
      fingers.set(event.pointerId, now);
      const fresh = middleAndSpread();
      shift((fresh.x - old.x) / height, (fresh.y - old.y) / height);
      zoom(old.spread / fresh.spread);
    }
    move();
  }

  const KEYS = {
    ArrowLeft: (fine) => (fine ? shift(0.05, 0) : turn(-0.1, 0)),
    ArrowRight: (fine) => (fine ? shift(-0.05, 0) : turn(0.1, 0)),
    ArrowUp: (fine) => (fine ? shift(0, 0.05) : turn(0, 0.1)),
    ArrowDown: (fine) => (fine ? shift(0, -0.05) : turn(0, -0.1)),
    "+": () => zoom(0.85),
    "=": () => zoom(0.85),
    "-": () => zoom(1 / 0.85),
    _: () => zoom(1 / 0.85),
  };

  function listen() {
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      const moves = event.button !== 0 || event.shiftKey || event.ctrlKey;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY, moves });
    });
    canvas.addEventListener("pointermove", drag);
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
      canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      flight = null;
      const pixels = event.deltaY * (event.deltaMode === 1 ? 30 : event.deltaMode === 2 ? 300 : 1);
      zoom(Math.exp(Math.max(-400, Math.min(400, pixels)) * 0.0015));
      move();
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const action = KEYS[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      flight = null;
      action(event.shiftKey);
      move();
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "0") wholeScan();
      const radio = panel.querySelectorAll("[name=coloring]")[Number(event.key) - 1];
      if (!radio) return;
      radio.checked = true;
      recolor();
    });
    panel.addEventListener("submit", (event) => event.preventDefault());
    panel.addEventListener("input", (event) => {
      if (event.target.name === "coloring") recolor();
      else refresh();
    });
    document.getElementById("all").addEventListener("click", () => checkAll(true));
    document.getElementById("none").addEventListener("click", () => checkAll(false));
    document.getElementById("reset").addEventListener("click", wholeScan);
    for (const button of document.querySelectorAll(".fly"))
      button.addEventListener("click", () => visit(Number(button.dataset.place)));
    new ResizeObserver(ask).observe(canvas);
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  }

  // --- the panel ----------------------------------------------------------------------------------------------------

  const boxes = [...panel.querySelectorAll("[name=label]")];

  function recolor() {
    const chosen = panel.querySelector("[name=coloring]:checked").value;
    state.coloring = COLORINGS.indexOf(chosen);
    for (const key of panel.querySelectorAll(".key")) key.hidden = key.dataset.coloring !== chosen;
    const counts = chosen === "truth" ? facts.labelCounts : facts.predictionCounts;
    document.getElementById("by").textContent = chosen === "truth" ? "by label" : "by prediction";
    for (const box of boxes)
      box.parentElement.querySelector(".count").textContent = number(counts[box.value]);
    refresh();
  }

  function refresh() {
    state.mask.fill(0);
    let points = 0;
    const counts = COLORINGS[state.coloring] === "truth" ? facts.labelCounts : facts.predictionCounts;
    for (const box of boxes) {
      if (!box.checked) continue;
      state.mask[box.value >> 5] |= 1 << (box.value & 31);
      points += counts[box.value];
    }
    state.size = Number(document.getElementById("size").value);
    state.shading = document.getElementById("shading").checked;
    const where = state.place ? `Place ${facts.places.indexOf(state.place) + 1}; the rest is pale. ` : "";
    const hidden = facts.allPoints - points;
    say(where + (hidden ? `${number(hidden)} of ${number(facts.allPoints)} points are hidden` : "All classes are shown"));
    ask();
  }

  function checkAll(checked) {
    for (const box of boxes) box.checked = checked;
    refresh();
  }

  function wholeScan() {
    state.place = null;
    refresh();
    flyTo(firstView());
  }

  function visit(index) {
    const place = (state.place = facts.places[index]);
    for (const box of boxes) if (Number(box.value) === place.label) box.checked = true;
    refresh();
    canvas.scrollIntoView({ block: "nearest" });
    canvas.focus({ preventScroll: true });
    const size = Math.hypot(...place.high.map((value, axis) => value - place.low[axis]));
    const at = place.low.map((value, axis) => (value + place.high[axis]) / 2);
    flyTo({ at, yaw: view.yaw, pitch: Math.max(view.pitch, 0.5), distance: 1.2 + (1.5 * size) / Math.min(1, aspect()) });
  }

  // --- start --------------------------------------------------------------------------------------------------------

  try {
    gl = canvas.getContext("webgl2", { antialias: false, depth: false, premultipliedAlpha: true });
    if (!gl || typeof DecompressionStream === "undefined") { gl = null; return; }
    document.documentElement.classList.add("live");
    viewer.hidden = false;
    const points = await allPoints();
    setUp(points);
    listen();
    canvas.addEventListener("webglcontextrestored", () => { setUp(points); ask(); });
    Object.assign(view, firstView());
    recolor();
    document.documentElement.dataset.ready = "yes";
  } catch (error) {
    gl = null;
    viewer.hidden = true;
    document.documentElement.classList.remove("live");
    document.getElementById("why").textContent = `The 3-D view could not be shown here (${error.message}); these are pictures of the scan.`;
  }
})();
