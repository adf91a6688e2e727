// Links to share, in the entries of the list of past conversations.
(() => {
  const FAILED = translate('page.server_failed');
  const COPIED = translate('page.copied'), REFUSED = translate('share.copy_refused');
  const told = () => document.querySelector('#past .past-told');

  // The server knows the path; only the browser knows the name by which it has reached it.
  const complete = (part) => {
    const input = part.querySelector('[data-path]');
    if (input) input.value = new URL(input.dataset.path, location.href).href;
  };

  const change = async (part, method) => {
    told().textContent = '';
    const id = part.closest('li').dataset.id;
    const answer = await fetch(`conversations/${id}/link`, {method}).catch(() => null);
    if (!answer?.ok) {
      const said = await answer?.json().catch(() => null);
      told().textContent = typeof said?.error === 'string' ? said.error : FAILED;
      return;
    }
    const made = document.createElement('template');
    made.innerHTML = await answer.text();
    const fresh = made.content.firstElementChild;
    complete(fresh);
    fresh.open = true;
    part.replaceWith(fresh);
    (fresh.querySelector('input') ?? fresh.querySelector('summary')).focus();
  };

  const copy = async (part, button) => {
    const input = part.querySelector('[data-path]'), said = button.textContent;
    const isCopied = await window.copyText(input.value);
    button.textContent = isCopied ? COPIED : REFUSED;
    if (!isCopied) input.select();
    setTimeout(() => { button.textContent = said; }, 1500);
  };

  document.addEventListener('toggle', (event) => {
    if (event.target.matches?.('#past .link[open]')) complete(event.target);
  }, true);
  document.addEventListener('click', (event) => {
    const button = event.target.closest('#past [data-link]');
    if (!button) return;
    const part = button.closest('.link');
    if (button.dataset.link === 'copy') copy(part, button);
    else change(part, button.dataset.link);
  });
})();
