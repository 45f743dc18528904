// The image that the composer's next request starts from: attached, dropped, pasted, or one of the conversation's.

import { can } from './abilities.js';
import { uploadImage } from './api.js';
import { address, percent, setText, text } from './page.js';
import { drawThumbnail, loadImage, readImage } from './pixels.js';

const element = id => document.getElementById(id);

/** As the API's default. */
const usualStrength = 55;

export class StartImage {
  /** { messageId }, or { blob, uploads: conversation id -> upload id }; null when there is none. */
  #start = null;
  #strength = element('strength');
  #onChange;
  #onProblem;
  #change = 0;

  /** @param events { onChange(), onProblem(sentence) } */
  constructor({ onChange, onProblem }) {
    this.#onChange = onChange;
    this.#onProblem = onProblem;
    const file = element('attach-file');
    element('attach').addEventListener('click', () => file.click());
    file.addEventListener('change', () => {
      this.#attach(file.files);
      file.value = '';
    });
    element('start-remove').addEventListener('click', () => {
      this.clear();
      element('prompt').focus();
    });
    this.#strength.addEventListener('input', () => this.#showStrength());
    addEventListener('paste', event => this.#paste(event));
    this.#acceptDrops(element('chat'));
  }

  get isThere() {
    return this.#start !== null;
  }

  clear() {
    this.#change++;
    this.#show(null);
  }

  /** Starts from a finished image of the conversation. */
  async useMessage({ id, imageUrl, thumbnailUrl }) {
    const change = ++this.#change;
    this.#show({ messageId: Number(id) });
    const image = await loadImage(address(thumbnailUrl ?? imageUrl));
    if (change === this.#change) drawThumbnail(element('start-thumb'), image);
  }

  /** What the request says about it; uploads it first, once for each conversation. */
  async source(conversationId) {
    if (this.#start === null) return null;
    const { messageId, blob, uploads } = this.#start;
    const strength = this.#strength.valueAsNumber / 100;
    if (messageId) return { message_id: messageId, strength };
    if (!uploads.has(conversationId)) uploads.set(conversationId, (await uploadImage(conversationId, blob)).upload_id);
    return { upload_id: uploads.get(conversationId), strength };
  }

  /** The server has forgotten the upload: the next attempt sends it again. */
  forgetUpload() {
    this.#start?.uploads?.clear();
  }

  async #attach(files) {
    const file = [...files].find(one => one.type.startsWith('image/'));
    if (!file) {
      this.#onProblem(text('NotAnImage'));
      return;
    }

    const change = ++this.#change;
    try {
      const { bitmap, blob } = await readImage(file);
      if (change !== this.#change) return;
      this.#show({ blob, uploads: new Map() });
      drawThumbnail(element('start-thumb'), bitmap);
      bitmap.close();
      this.#onProblem('');
      element('prompt').focus();
    } catch {
      if (change === this.#change) this.#onProblem(text('NotAnImage'));
    }
  }

  #paste(event) {
    const { files } = event.clipboardData;
    if (files.length === 0 || !this.#isOffered() || document.querySelector('dialog[open]')) return;
    event.preventDefault();
    this.#attach(files);
  }

  /** Over a child the page is left and entered again: the count says whether it is still over the area. */
  #acceptDrops(area) {
    let depth = 0;
    const over = change => {
      depth = Math.max(0, change === 0 ? 0 : depth + change);
      area.classList.toggle('dropping', depth > 0);
    };
    const hasFiles = event => this.#isOffered() && event.dataTransfer.types.includes('Files');
    area.addEventListener('dragenter', event => hasFiles(event) && over(1));
    area.addEventListener('dragleave', event => hasFiles(event) && over(-1));
    area.addEventListener('dragover', event => hasFiles(event) && event.preventDefault());
    area.addEventListener('drop', event => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      over(0);
      this.#attach(event.dataTransfer.files);
    });
  }

  #isOffered() {
    return can('image_to_image') && !element('composer').inert && !element('chat').hidden;
  }

  #show(start) {
    this.#start = start;
    element('start').hidden = start === null;
    element('sizes').disabled = start !== null; // It keeps its image's shape.
    this.#strength.value = usualStrength;
    this.#showStrength();
    this.#onChange();
  }

  #showStrength() {
    const value = percent(this.#strength.valueAsNumber);
    this.#strength.setAttribute('aria-valuetext', value);
    setText(element('strength-value'), value);
  }
}
