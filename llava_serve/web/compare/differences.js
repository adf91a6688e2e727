// The differences between two answers of a comparison, in a dialog over the page.
(() => {
  const TITLE = translate('compare.differences');
  const dialog = document.createElement('dialog');
  dialog.id = 'differences';
  dialog.className = 'over';
  dialog.setAttribute('aria-labelledby', 'differences-title');
  dialog.innerHTML = `<header><h2 id="differences-title">${TITLE}</h2>
    <button type="button" class="close" aria-label="${translate('page.close')}">×</button></header>
    <div class="choice"><label>${translate('compare.from')} <select data-side="one" aria-label="${translate('compare.from_answer')}"></select></label>
    <label>${translate('compare.to')} <select data-side="other" aria-label="${translate('compare.to_answer')}"></select></label></div>
    <div class="result" role="region" aria-label="${TITLE}" aria-live="polite" tabindex="0"></div>`;
  const part = (selector) => dialog.querySelector(selector);
  const sides = ['one', 'other'].map((side) => part(`[data-side=${side}]`));
  let exchange, last = 0;

  const compare = async () => {
    const mine = ++last;
    const id = new URL(location.href).searchParams.get('compare');
    const asked = new URLSearchParams({exchange, one: sides[0].value, other: sides[1].value});
    const answer = await fetch(`comparisons/${id}/difference?${asked}`).catch(() => null);
    const html = answer?.ok ? await answer.text() : '';
    if (mine !== last) return;
    part('.result').innerHTML = html;
    if (!html) part('.result').textContent = translate('compare.not_compared');
  };

  const open = (shown) => {
    exchange = [...document.querySelectorAll('#compare-history .exchange')].indexOf(shown);
    const turns = [...shown.querySelectorAll('.columns > .turn')];
    const texts = turns.map((turn, slot) => ({turn, slot})).filter(({turn}) => turn.querySelector('.text'));
    sides.forEach((side, index) => {
      side.replaceChildren(...texts.map(({turn, slot}) => {
        const letter = turn.querySelector('.model b').textContent;
        return new Option(`${letter} · ${turn.querySelector('.model').title}`, slot);
      }));
      side.selectedIndex = index;
    });
    part('.result').replaceChildren();
    dialog.showModal();
    compare();
  };

  dialog.addEventListener('change', compare);
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog || event.target.closest('.close')) dialog.close();
  });
  // Esc closes the dialog, and stops no answer behind it.
  dialog.addEventListener('keydown', (event) => { if (event.key === 'Escape') event.stopPropagation(); });
  document.addEventListener('click', (event) => {
    const button = event.target.closest?.('.differences');
    if (button) open(button.closest('.exchange'));
  });
  const begin = () => document.body.append(dialog);
  if (document.body) begin();
  else document.addEventListener('DOMContentLoaded', begin);
})();
