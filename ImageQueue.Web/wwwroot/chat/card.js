// One image request in the thread: the prompt, and the card from waiting to the image.

import { announce } from './announcer.js';
import { ApiError, cancelImage, retryImage } from './api.js';
import { isUnfinished } from './messages.js';
import { address, duration, estimate, fullTime, number, optionalText, percent, setText, shortTime, text } from './page.js';
import { isPaused } from './queue.js';

/** A card's texts and visible parts by status. */
const views = {
  queued: message => ({
    figure: message.position > 0 ? [number(message.position), text('InLine')] : ['', ''],
    headline: message.position > 1 ? text('WaitingAt', { position: number(message.position) }) : text(message.position === 1 ? 'WaitingNext' : 'Waiting'),
    detail: remaining(message),
    parts: ['figure', 'cancel'],
  }),
  processing: message => ({
    figure: message.progress > 0 ? [percent(message.progress), ''] : ['', ''],
    headline: message.progress > 0 ? text('GeneratingAt', { percent: percent(message.progress) }) : text('Starting'),
    detail: remaining(message),
    parts: ['figure', 'bar', 'cancel'],
  }),
  // The server deletes the file after some time, and keeps the message.
  complete: message => ({
    headline: message.imageUrl ? '' : text('ImageExpired'),
    detail: facts(message),
    parts: message.imageUrl
      ? ['open', 'again', 'change', 'reuse', 'download', 'enlarge', 'more', 'copy-image']
      : ['again', 'reuse', 'more'],
  }),
  error: message => ({
    headline: optionalText(`Error_${message.errorCode}`) ?? message.error ?? text('Error'),
    detail: '',
    mark: 'alert',
    parts: ['mark', 'reuse', 'retry', 'more'],
  }),
  cancelled: () => ({
    headline: text('Cancelled'),
    detail: '',
    mark: 'stopped',
    parts: ['mark', 'reuse', 'retry', 'more'],
  }),
};

const optional = ['figure', 'bar', 'open', 'mark', 'cancel', 'again', 'change', 'reuse', 'download', 'enlarge', 'retry', 'more', 'copy-image'];

/** Copying images needs a secure context, and a browser that can. */
const canCopyImages = isSecureContext && 'ClipboardItem' in globalThis && Boolean(navigator.clipboard?.write);

export class Card {
  #message;
  #parts = {};
  #busy = false;
  #actions;

  /** @param actions { onRow(call, id), onReuse(message), onSettings(message), onAgain(message), onVary(message), onEdit(message), onUpscale(message, factor), onOpen(message), onRefresh() } */
  constructor(message, actions) {
    this.#actions = actions;
    this.element = document.getElementById('image-message').content.firstElementChild.cloneNode(true);
    for (const part of this.element.querySelectorAll('[data-part]')) this.#parts[part.dataset.part] = part;

    const { cancel, retry, reuse, open, enlarge, image, preview } = this.#parts;
    cancel.addEventListener('click', () => this.#act(cancelImage));
    retry.addEventListener('click', () => this.#act(retryImage));
    this.#parts.unfold.addEventListener('click', () => this.#fold(this.#parts.unfold.getAttribute('aria-expanded') === 'true'));
    reuse.addEventListener('click', () => actions.onReuse(this.#message));
    this.#parts.again.addEventListener('click', () => actions.onAgain(this.#message));
    this.#wireMenu(this.#parts.more, {
      'copy-prompt': () => this.#copyPrompt(), 'copy-image': () => this.#copyImage(), settings: () => actions.onSettings(this.#message),
    });
    this.#wireMenu(this.#parts.change, {
      vary: () => actions.onVary(this.#message),
      edit: () => actions.onEdit(this.#message),
      'upscale-2': () => this.#upscale(2),
      'upscale-4': () => this.#upscale(4),
    });
    open.addEventListener('click', () => actions.onOpen(this.#message));
    enlarge.addEventListener('click', () => actions.onOpen(this.#message));
    image.addEventListener('load', () => this.#imageLoaded());
    image.addEventListener('error', () => this.#imageFailed());
    this.#parts['image-reload'].addEventListener('click', () => this.reloadImage());

    this.show(message);
  }

  show(message) {
    const before = this.#message;
    this.#message = message;
    const view = (views[message.status] ?? views.queued)(message);

    const { element } = this;
    element.dataset.testid = `message-${message.id}`;
    element.dataset.status = message.status;
    element.dataset.progress = message.progress;
    element.dataset.position = message.position;

    if (message.prompt !== before?.prompt) {
      setText(this.#parts.prompt, message.prompt);
      this.#parts.unfold.hidden = !isLong(message.prompt);
      this.#fold(isLong(message.prompt));
      this.#parts.card.setAttribute('aria-label', text('ImageOf', { prompt: message.prompt }));
    }
    if (message.createdAt.getTime() !== before?.createdAt.getTime() && !Number.isNaN(message.createdAt.getTime())) {
      this.#parts.time.dateTime = message.createdAt.toISOString();
      this.#parts.time.title = fullTime(message.createdAt);
      setText(this.#parts.time, shortTime(message.createdAt));
    }

    for (const part of optional) this.#parts[part].toggleAttribute('hidden', !view.parts.includes(part));
    if (!canCopyImages) this.#parts['copy-image'].hidden = true;
    setText(this.#parts['figure-value'], view.figure?.[0] ?? '');
    setText(this.#parts['figure-label'], view.figure?.[1] ?? '');
    setText(this.#parts.headline, view.headline);
    setText(this.#parts.detail, view.detail);
    if (view.mark) this.#parts.mark.firstElementChild.setAttribute('href', `#icon-${view.mark}`);
    if (before && before.status !== message.status) this.#showProblem('');

    this.#showFrame(message);
    this.#showProgress(message);
    this.#showPreview(message);
    this.#showImage(message);
  }

  /** The prompt and when it was sent. */
  get asked() {
    return this.#parts.prompt.parentElement;
  }

  /** Counts the estimate down between two events. */
  tick() {
    if (isUnfinished(this.#message)) setText(this.#parts.detail, remaining(this.#message));
  }

  /** Retries an image that failed to load. */
  reloadImage() {
    const { image } = this.#parts;
    if (this.#parts['image-problem'].hidden) return;
    this.#parts['image-problem'].hidden = true;
    const url = image.getAttribute('src');
    if (!url) return;
    image.removeAttribute('src');
    image.src = url;
  }

  #fold(isFolded) {
    this.#parts.prompt.classList.toggle('folded', isFolded);
    this.#parts.unfold.setAttribute('aria-expanded', String(!isFolded));
    setText(this.#parts.unfold, text(isFolded ? 'ShowAll' : 'ShowLess'));
  }

  /** A waiting card has no frame; a processing one reserves the image's space. */
  #showFrame({ settings, result, status, imageUrl }) {
    this.#parts.frame.hidden = status !== 'processing' && !(status === 'complete' && imageUrl);
    const width = Number(result?.width ?? settings.width) || 1024;
    const height = Number(result?.height ?? settings.height) || 1024;
    this.element.style.setProperty('--ratio', String(Math.min(4, Math.max(0.25, width / height))));
  }

  #showProgress({ progress }) {
    this.#parts.bar.setAttribute('aria-valuenow', String(progress));
    this.#parts.bar.setAttribute('aria-valuetext', percent(progress));
    this.element.style.setProperty('--progress', String(progress / 100));
  }

  /** Loads each preview before showing it, so that the old one never flickers. */
  #showPreview({ previewUrl, status, progress, revision }) {
    const { preview } = this.#parts;
    if (status === 'processing' && previewUrl) {
      const url = `${address(previewUrl)}?at=${revision || progress}`;
      if (preview.dataset.wanted === url) return;
      preview.dataset.wanted = url;
      const loaded = new Image();
      loaded.addEventListener('load', () => {
        if (preview.dataset.wanted !== url) return;
        preview.src = url;
        preview.hidden = false;
        this.element.classList.add('has-preview');
      });
      loaded.src = url;
    } else if (status !== 'complete' && preview.dataset.wanted) {
      this.#dropPreview();
    }
  }

  #dropPreview() {
    const { preview } = this.#parts;
    delete preview.dataset.wanted;
    preview.hidden = true;
    preview.removeAttribute('src');
    this.element.classList.remove('has-preview');
  }

  /** Shows the thumbnail where there is one; lightbox and download use the image. */
  #showImage({ status, imageUrl, thumbnailUrl, prompt, id }) {
    const { image, download } = this.#parts;
    image.alt = prompt;
    if (status !== 'complete' || !imageUrl) {
      image.removeAttribute('src');
      download.removeAttribute('href');
      this.#parts['image-problem'].hidden = true;
      this.element.classList.remove('has-image');
      return;
    }

    const url = address(thumbnailUrl ?? imageUrl);
    if (image.getAttribute('src') !== url) image.src = url;
    download.href = address(imageUrl);
    download.download = fileName(id);
  }

  #imageLoaded() {
    this.#parts['image-problem'].hidden = true;
    this.element.classList.add('has-image');
    // The preview stays until the image has faded in over it.
    setTimeout(() => this.#message.status === 'complete' && this.#dropPreview(), 900);
  }

  #imageFailed() {
    if (this.#message.status === 'complete' && this.#parts.image.hasAttribute('src')) this.#parts['image-problem'].hidden = false;
  }

  #wireMenu(menu, actions) {
    for (const [part, action] of Object.entries(actions)) {
      this.#parts[part].addEventListener('click', () => {
        menu.open = false;
        action();
      });
    }
    menu.addEventListener('keydown', event => {
      if (event.key !== 'Escape') return;
      menu.open = false;
      menu.firstElementChild.focus();
    });
    menu.addEventListener('focusout', event => {
      if (!menu.contains(event.relatedTarget)) menu.open = false;
    });
  }

  async #upscale(factor) {
    try {
      await this.#actions.onUpscale(this.#message, factor);
      this.#showProblem('');
    } catch (error) {
      this.#showProblem(error.message);
    }
  }

  async #copyPrompt() {
    try {
      await navigator.clipboard.writeText(this.#message.prompt);
      announce('copy', text('Copied'));
    } catch {
      this.#showProblem(text('NotCopied'));
    }
  }

  async #copyImage() {
    try {
      const image = fetch(address(this.#message.imageUrl)).then(response => response.blob());
      await navigator.clipboard.write([new ClipboardItem({ 'image/png': image })]);
      announce('copy', text('Copied'));
    } catch {
      this.#showProblem(text('NotCopied'));
    }
  }

  async #act(call) {
    if (this.#busy) return;
    this.#setBusy(true);
    const hadFocus = this.element.contains(document.activeElement);
    try {
      await this.#actions.onRow(call, this.#message.id);
      this.#showProblem('');
      // The pressed button is hidden: keyboard focus moves to the one that replaced it.
      const isLost = document.activeElement === document.body || this.element.contains(document.activeElement);
      if (hadFocus && isLost) (isUnfinished(this.#message) ? this.#parts.cancel : this.#parts.retry).focus();
    } catch (error) {
      this.#showProblem(error instanceof ApiError ? error.message : text('Offline'));
      this.#actions.onRefresh();
    } finally {
      this.#setBusy(false);
    }
  }

  #setBusy(isBusy) {
    this.#busy = isBusy;
    for (const button of [this.#parts.cancel, this.#parts.retry]) button.setAttribute('aria-disabled', String(isBusy));
  }

  #showProblem(sentence) {
    setText(this.#parts.problem, sentence);
    this.#parts.problem.hidden = !sentence;
  }
}

const isLong = prompt => prompt.length > 400 || prompt.split('\n').length > 8;

export const fileName = id => `imagequeue-${id}.png`;

function remaining({ eta, status }) {
  if (status === 'queued' && isPaused()) return text('Paused');
  if (eta === null) return '';
  const seconds = (eta - performance.now()) / 1000;
  return seconds > 2 ? text('Eta', { time: estimate(seconds) }) : text('EtaMoment');
}

/** How the image came from another one. */
function origin(source) {
  if (source?.upscale) return text('Upscaled', { factor: source.upscale });
  if (source?.mask_upload_id) return text('Edited');
  return source && text('Varied', { percent: percent(Number(source.strength ?? 0) * 100) });
}

function facts({ result, settings, source }) {
  const width = result?.width ?? settings.width;
  const height = result?.height ?? settings.height;
  return [
    origin(source),
    width && height && text('SizeValue', { width, height }),
    result?.seed != null && text('SeedValue', { seed: result.seed }),
    result?.duration_seconds != null && duration(Number(result.duration_seconds)),
  ].filter(Boolean).map(fact => fact.replaceAll(' ', '\u00a0')).join(' · '); // Lines break between facts only.
}
