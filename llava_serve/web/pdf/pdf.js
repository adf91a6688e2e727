// Each PDF among the files for a question gives way to pictures of its pages.
(() => {
  const BEGINNING = '%PDF-', MOST_LETTERS = 60; // longer names lose their end, and so the page, on the server

  const place = (box) => document.querySelector(`#${box.id}-refusals .page-note`);
  const say = (box, text) => {
    place(box).classList.remove('lasts');
    place(box).textContent = text;
  };
  // It lasts until the files are sent or taken away.
  window.notePages = (box, text) => {
    if (!text) return;
    say(box, text);
    place(box).classList.add('lasts');
  };
  const isAttached = (note) =>
    document.getElementById(note.closest('[id$=-refusals]').id.replace(/-refusals$/, ''))?.querySelector('.thumbnail-item');
  const forget = () => document.querySelectorAll('.page-note.lasts').forEach((note) => {
    if (isAttached(note)) return;
    note.classList.remove('lasts');
    note.textContent = '';
  });

  const isPdf = (file) => file.slice(0, BEGINNING.length).text().then((text) => text === BEGINNING, () => false);
  const shortened = (name) => (name.length > MOST_LETTERS ? `${name.slice(0, MOST_LETTERS)}…` : name);

  const pagesOf = async (file, attached) => {
    const asked = new URLSearchParams({name: file.name.slice(-200), attached});
    const answer = await fetch(`pdf/pages?${asked}`, {method: 'POST', headers: {'Content-Type': 'application/pdf'}, body: file});
    if (!answer.ok) {
      const {card} = await answer.json();
      if (!card) throw new Error(answer.statusText);
      return {card, pages: [], total: 0};
    }
    const form = await answer.formData(), name = file.name.slice(0, MOST_LETTERS);
    const pages = form.getAll('page').map((page, index) => {
      const called = translate('pdf.page', {name, number: index + 1}) + page.name.slice(page.name.lastIndexOf('.'));
      return new File([page], called, {type: page.type});
    });
    return {card: '', pages, total: Number(form.get('total'))};
  };

  // `attached` says how many files the question has already.
  window.openPdfs = async (box, files, attached) => {
    const arePdfs = await Promise.all(files.map(isPdf));
    const all = [], cards = [], notes = [];
    let count = attached + arePdfs.filter((is) => !is).length;
    try {
      for (const [index, file] of files.entries()) {
        if (arePdfs[index]) {
          say(box, translate('pdf.drawing', {name: shortened(file.name)}));
          const {card, pages, total} = await pagesOf(file, count);
          all.push(...pages);
          count += pages.length;
          cards.push(card);
          if (pages.length < total) {
            notes.push(translate('pdf.taken', {name: shortened(file.name), count: pages.length, total}));
          }
        } else all.push(file);
      }
    } finally {
      if (arePdfs.includes(true)) say(box, '');
    }
    return {files: all, cards: cards.join(''), note: notes.join(' ')};
  };

  const start = () => new MutationObserver(forget).observe(document.body, {childList: true, subtree: true});
  if (document.body) start();
  else document.addEventListener('DOMContentLoaded', start);
})();
