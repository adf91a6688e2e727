// The words that Gradio itself writes into its controls, in the language of the page.
(() => {
  const LABELS = {
    'Multimedia input field': translate('gradio.box'),
    'Upload a file': translate('gradio.upload'),
    'Uploading': translate('gradio.uploading'),
    'Uploaded files': translate('gradio.uploaded'),
    'File thumbnail': translate('gradio.thumbnail'),
    'Remove file': translate('gradio.remove_file'),
    'Submit': translate('gradio.submit'),
    'Stop': translate('gradio.stop'),
    'Reset to default value': translate('gradio.reset'),
  };
  const OF_NUMBER = /^(number input|range slider) for (.*)$/s;

  const label = (one) => {
    const told = one.getAttribute('aria-label'), number = OF_NUMBER.exec(told);
    if (LABELS[told]) one.setAttribute('aria-label', LABELS[told]);
    else if (number?.[1] === 'number input') one.setAttribute('aria-label', translate('gradio.number_input', {label: number[2]}));
    else if (number) one.setAttribute('aria-label', translate('gradio.slider', {label: number[2]}));
  };
  const name = (root) => {
    for (const one of root.querySelectorAll('[aria-label]')) label(one);
    if (root.hasAttribute('aria-label')) label(root);
    for (const one of root.querySelectorAll('.token-remove')) {
      one.title = one.matches('.remove-all') ? translate('gradio.remove_all') : translate('gradio.remove');
    }
  };
  // What grows with an answer is of the page alone.
  new MutationObserver((changes) => {
    for (const {addedNodes, target} of changes) {
      if (target.closest('.parts')) continue;
      for (const node of addedNodes) if (node.nodeType === Node.ELEMENT_NODE) name(node);
    }
  }).observe(document.documentElement, {childList: true, subtree: true});
})();
