// The dashboard's pages: shows what has changed without reloading, and sends commands.
(function () {
  'use strict';
  // Hangfire has no place of its own for more than tiles on its home page: what the dashboard has for it goes above Hangfire's graphs.
  const graph = document.getElementById('realtimeGraph');
  if (graph) {
    const overview = document.createElement('section');
    overview.className = 'iq';
    overview.setAttribute('aria-label', 'Images');
    overview.dataset.iqLive = location.pathname.replace(/\/$/, '') + '/live/overview';
    overview.append(document.createElement('div'));
    overview.firstChild.dataset.iqPart = '';
    (graph.previousElementSibling || graph).before(overview);
  }
  const dashboard = document.querySelector('[data-iq-live]');
  const root = dashboard || document.querySelector('.iq-image');
  if (!root) return;
  const pause = graph ? 10000 : 2000;
  const part = dashboard && dashboard.querySelector('[data-iq-part]');
  const said = dashboard && dashboard.querySelector('[data-iq-said]');
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
    return Array.from(root.querySelectorAll('[data-iq-pick]:checked'), box => box.value);
  }

  function ready() {
    const count = picked().length;
    root.querySelectorAll('[data-iq-picked]').forEach(button => { button.disabled = count === 0; });
    const all = root.querySelector('[data-iq-all]');
    if (all) all.checked = count > 0 && count === root.querySelectorAll('[data-iq-pick]').length;
  }

  async function look() {
    if (!dashboard || document.hidden || isLooking) return;
    // Whoever is writing, or has a list open, is left alone.
    if (part.contains(document.activeElement) && document.activeElement.matches('input:not([type=checkbox]), select')) return;
    isLooking = true;
    try {
      const answer = await fetch(dashboard.dataset.iqLive, { headers: { Accept: 'text/html' } });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const html = await answer.text();
      dashboard.classList.remove('iq-stale');
      if (html !== last) exchange(html);
      last = html;
    } catch {
      dashboard.classList.add('iq-stale');
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
    part.querySelectorAll('[data-iq-pick]').forEach(box => { box.checked = checked.has(box.value); });
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
    return [one.tagName, one.id, one.getAttribute('href'), one.dataset.iqPost, one.dataset.iqValue, one.textContent].join('|');
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
    const values = button.hasAttribute('data-iq-picked') ? picked() : [button.dataset.iqValue];
    if (values.length === 0) return;
    if (button.dataset.iqConfirm && !confirm(button.dataset.iqConfirm.replace('{0}', values.length))) return;
    // What is moved to the front last stands first: so the last of the selection begins.
    if (button.dataset.iqPost.endsWith('/front')) values.reverse();
    const form = new URLSearchParams();
    values.forEach(value => form.append('jobs[]', value));
    const header = document.querySelector('meta[name=csrf-header]');
    const token = document.querySelector('meta[name=csrf-token]');
    const headers = header && token ? { [header.content]: token.content } : {};
    button.disabled = true;
    try {
      const answer = await fetch(button.dataset.iqPost, { method: 'POST', body: form, headers });
      if (!answer.ok) throw new Error(await reason(answer));
      const { done, refused } = await answer.json();
      say(button.textContent.trim() + ': ' + done + ' done' + (refused ? ', ' + refused + ' refused, since their state does not allow it.' : '.'));
      root.querySelectorAll('[data-iq-pick]:checked').forEach(box => { box.checked = false; });
    } catch (error) {
      say(button.textContent.trim() + ' failed. ' + error.message);
    } finally {
      button.disabled = false;
    }

    if (!dashboard) { location.reload(); return; }
    await look();
    ready();
    // Where the command stands no longer, or is not ready any more, the answer has the focus, and Tab goes on from there.
    if (!dashboard.contains(document.activeElement)) said.focus({ preventScroll: true });
  }

  root.addEventListener('click', event => {
    const button = event.target.closest('[data-iq-post]');
    if (button) send(button);
  });
  root.addEventListener('change', event => {
    if (event.target.matches('[data-iq-all]'))
      root.querySelectorAll('[data-iq-pick]').forEach(box => { box.checked = event.target.checked; });
    if (event.target.matches('[data-iq-all], [data-iq-pick]')) ready();
  });
  document.addEventListener('visibilitychange', look);
  setInterval(look, pause);
  if (graph) look();
  times();
  ready();
})();
