// A canvas over an image, on which one marks a part by mouse, pen or touch.

import { toBlob } from './pixels.js';

export class Mask {
  #canvas;
  #context;
  #strokes = [];
  #onChange;

  /** The brush's width, in parts of the image's shorter side. */
  brush = 0.1;

  /** @param onChange called after each stroke, undo and clear. */
  constructor(canvas, onChange) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    this.#onChange = onChange;
    canvas.addEventListener('pointerdown', event => this.#begin(event));
    canvas.addEventListener('pointermove', event => this.#move(event));
    // Not before a stroke's end: what its change hides would move the canvas under the finger.
    canvas.addEventListener('lostpointercapture', () => this.#onChange());
  }

  get isEmpty() {
    return this.#strokes.length === 0;
  }

  /** Starts anew, for an image of this size. */
  reset(width, height) {
    [this.#canvas.width, this.#canvas.height] = [width, height];
    this.clear();
  }

  undo() {
    this.#strokes.pop();
    this.#draw();
    this.#onChange();
  }

  clear() {
    this.#strokes = [];
    this.#draw();
    this.#onChange();
  }

  /** A PNG of the image's size: white is what was marked. */
  toPng() {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [this.#canvas.width, this.#canvas.height];
    const context = canvas.getContext('2d');
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const stroke of this.#strokes) drawStroke(context, stroke, '#fff');
    return toBlob(canvas, 'image/png');
  }

  #begin(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    event.preventDefault();
    this.#canvas.setPointerCapture(event.pointerId);
    this.#strokes.push({ width: this.brush * Math.min(this.#canvas.width, this.#canvas.height), points: [this.#pointOf(event)] });
    this.#draw();
  }

  #move(event) {
    if (!this.#canvas.hasPointerCapture(event.pointerId)) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length > 0 ? moves : [event]) this.#strokes.at(-1).points.push(this.#pointOf(move));
    this.#draw();
  }

  /** The canvas is as large as the image, and shown smaller. */
  #pointOf({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [(clientX - left) * this.#canvas.width / width, (clientY - top) * this.#canvas.height / height];
  }

  #draw() {
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    for (const stroke of this.#strokes) drawStroke(this.#context, stroke, getComputedStyle(this.#canvas).color);
  }
}

function drawStroke(context, { width, points }, colour) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineCap = context.lineJoin = 'round';
  context.beginPath();
  context.moveTo(...points[0]);
  for (const point of points) context.lineTo(...point); // The first again: a dot is a line to itself.
  context.stroke();
}
