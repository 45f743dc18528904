// The desk's pages: shows what has changed without reloading, and sends commands.
(function () {
  'use strict';
  // Hangfire has no place of its own for more than tiles on its home page: what the desk has for it goes above Hangfire's graphs.
  const graph = document.getElementById('realtimeGraph');
  if (graph) {
    const overview = document.createElement('section');
    overview.className = 'desk';
    overview.setAttribute('aria-label', 'Images');
    overview.dataset.deskLive = location.pathname.replace(/\/$/, '') + '/live/overview';
    overview.append(document.createElement('div'));
    overview.firstChild.dataset.deskPart = '';
    (graph.previousElementSibling || graph).before(overview);
  }
  const desk = document.querySelector('[data-desk-live]');
  const root = desk || document.querySelector('.desk-image');
  if (!root) return;
  const pause = graph ? 10000 : 2000;
  const part = desk && desk.querySelector('[data-desk-part]');
  const said = desk && desk.querySelector('[data-desk-said]');
  let last = '';
  let isLooking = false;

  function times() {
    root.querySelectorAll('time:not([title])').forEach(time => {
      time.title = time.textContent;
      time.textContent = new Date(time.dateTime).toLocaleString();
    });
  }

  // Words are set as text and never as markup.
  function say(text) {
    if (said) said.textContent = text;
  }

  function picked() {
    return Array.from(root.querySelectorAll('[data-desk-pick]:checked'), box => box.value);
  }

  function ready() {
    const count = picked().length;
    root.querySelectorAll('[data-desk-picked]').forEach(button => { button.disabled = count === 0; });
    const all = root.querySelector('[data-desk-all]');
    if (all) all.checked = count > 0 && count === root.querySelectorAll('[data-desk-pick]').length;
  }

  async function look() {
    if (!desk || document.hidden || isLooking) return;
    // Whoever is writing, or has a list open, is left alone.
    if (part.contains(document.activeElement) && document.activeElement.matches('input:not([type=checkbox]), select')) return;
    isLooking = true;
    try {
      const answer = await fetch(desk.dataset.deskLive, { headers: { Accept: 'text/html' } });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const html = await answer.text();
      desk.classList.remove('desk-stale');
      if (html !== last) exchange(html);
      last = html;
    } catch {
      desk.classList.add('desk-stale');
    } finally {
      isLooking = false;
    }
  }

  function exchange(html) {
    const checked = new Set(picked());
    const focused = document.activeElement && part.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    const opened = new Map(Array.from(part.querySelectorAll('details > summary'), summary => [summary.textContent, summary.parentElement.open]));
    const wide = part.querySelector('.table-responsive');
    const scrolled = wide ? wide.scrollLeft : 0;
    part.innerHTML = html; // The server has encoded every word of it.
    part.querySelectorAll('[data-desk-pick]').forEach(box => { box.checked = checked.has(box.value); });
    part.querySelectorAll('details > summary').forEach(summary => { if (opened.has(summary.textContent)) summary.parentElement.open = opened.get(summary.textContent); });
    const now = part.querySelector('.table-responsive');
    if (now) now.scrollLeft = scrolled;
    times();
    ready(); // Before the focus: a button that is not ready takes none.
    if (focused) {
      const again = Array.from(part.querySelectorAll('a, button, input, summary')).find(one => keyOf(one) === focused);
      if (again) again.focus({ preventScroll: true });
    }
  }

  function keyOf(one) {
    return [one.tagName, one.id, one.getAttribute('href'), one.dataset.deskPost, one.dataset.deskValue, one.textContent].join('|');
  }

  // What the server says is a sentence, where it says something.
  async function reason(answer) {
    if (answer.status === 403) return 'You may not do this, or your sign-in is over: reload the page.';
    try {
      return (await answer.json()).detail || 'The server said ' + answer.status + '.';
    } catch {
      return 'The server said ' + answer.status + '.';
    }
  }

  async function send(button) {
    const values = button.hasAttribute('data-desk-picked') ? picked() : [button.dataset.deskValue];
    if (values.length === 0) return;
    if (button.dataset.deskConfirm && !confirm(button.dataset.deskConfirm.replace('{0}', values.length))) return;
    // What is moved to the front last stands first: so the last of the selection begins.
    if (button.dataset.deskPost.endsWith('/front')) values.reverse();
    const form = new URLSearchParams();
    values.forEach(value => form.append('jobs[]', value));
    const header = document.querySelector('meta[name=csrf-header]');
    const token = document.querySelector('meta[name=csrf-token]');
    const headers = header && token ? { [header.content]: token.content } : {};
    button.disabled = true;
    try {
      const answer = await fetch(button.dataset.deskPost, { method: 'POST', body: form, headers });
      if (!answer.ok) throw new Error(await reason(answer));
      const { done, refused } = await answer.json();
      say(button.textContent.trim() + ': ' + done + ' done' + (refused ? ', ' + refused + ' refused, since their state does not allow it.' : '.'));
      root.querySelectorAll('[data-desk-pick]:checked').forEach(box => { box.checked = false; });
    } catch (error) {
      say(button.textContent.trim() + ' failed. ' + error.message);
    } finally {
      button.disabled = false;
    }

    if (!desk) { location.reload(); return; }
    await look();
    ready();
    // Where the command stands no longer, or is not ready any more, the answer has the focus, and Tab goes on from there.
    if (!desk.contains(document.activeElement)) said.focus({ preventScroll: true });
  }

  root.addEventListener('click', event => {
    const button = event.target.closest('[data-desk-post]');
    if (button) send(button);
  });
  root.addEventListener('change', event => {
    if (event.target.matches('[data-desk-all]'))
      root.querySelectorAll('[data-desk-pick]').forEach(box => { box.checked = event.target.checked; });
    if (event.target.matches('[data-desk-all], [data-desk-pick]')) ready();
  });
  document.addEventListener('visibilitychange', look);
  setInterval(look, pause);
  if (graph) look();
  times();
  ready();
})();
