// Several images of one request: the prompt once, a grid of cards, one cancel for all.

import { ApiError, cancelImage } from './api.js';
import { isUnfinished } from './messages.js';
import { number, setText, text } from './page.js';

export class Group {
  #parts = {};
  #cards = new Map();
  #messages = new Map();
  #actions;

  /** @param actions { onRow(call, id), onRefresh() } */
  constructor(actions) {
    this.#actions = actions;
    this.element = document.getElementById('image-group').content.firstElementChild.cloneNode(true);
    for (const part of this.element.querySelectorAll('[data-part]')) this.#parts[part.dataset.part] = part;
    this.#parts['cancel-all'].addEventListener('click', () => this.#cancel());
  }

  get grid() {
    return this.#parts.grid;
  }

  get isEmpty() {
    return this.#cards.size === 0;
  }

  show(card, message) {
    this.#cards.set(message.id, card);
    this.#messages.set(message.id, message);
    this.#changed();
  }

  remove(id) {
    this.#cards.delete(id);
    this.#messages.delete(id);
    if (!this.isEmpty) this.#changed();
  }

  #changed() {
    const messages = [...this.#messages.values()].sort((a, b) => a.order - b.order);
    const { asked } = this.#cards.get(messages[0].id);
    if (this.#parts.head.firstElementChild !== asked) this.#parts.head.replaceChildren(asked);
    const open = messages.filter(isUnfinished).length;
    this.#parts['cancel-all'].hidden = open === 0;
    setText(this.#parts.state, open === 0 ? '' : text('GroupState', {
      ready: number(messages.filter(message => message.status === 'complete').length), all: number(messages.length),
    }));
    this.element.dataset.open = open;
  }

  async #cancel() {
    const button = this.#parts['cancel-all'];
    if (button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true');
    const hadFocus = button === document.activeElement;
    const ids = [...this.#messages.values()].filter(isUnfinished).map(message => message.id);
    const ended = await Promise.allSettled(ids.map(id => this.#actions.onRow(cancelImage, id)));
    button.removeAttribute('aria-disabled');

    // One that has finished meanwhile is no problem.
    const failed = ended.find(one => one.status === 'rejected' && one.reason.code !== 'not_cancellable');
    setText(this.#parts['group-problem'], failed ? failed.reason instanceof ApiError ? failed.reason.message : text('Offline') : '');
    this.#parts['group-problem'].hidden = !failed;
    if (failed) this.#actions.onRefresh();
    else if (hadFocus) this.element.querySelector('[data-part="retry"]:not([hidden])')?.focus();
  }
}
