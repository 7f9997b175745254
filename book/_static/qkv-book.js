// Small repairs to the theme that style sheets cannot make. Classic script, no requests.
"use strict";
(function () {
  // Search results show an excerpt that Sphinx fetches from each page. Browsers forbid fetching
  // from file://, so there the results are listed without excerpts instead of with errors.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS === "object") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }

  // What scrolls sideways (wide code, tables, formulas) must be reachable by keyboard.
  var WIDE = "div.highlight pre, div.math, div.output, .pst-scrollable-table-container";

  function markScrollable() {
    document.querySelectorAll(WIDE).forEach(function (element) {
      var wide = element.scrollWidth > element.clientWidth + 1;
      if (wide && !element.hasAttribute("tabindex")) {
        element.tabIndex = 0;
        element.dataset.qkvScrolls = "";
      } else if (!wide && element.dataset.qkvScrolls === "") {
        element.removeAttribute("tabindex");
        delete element.dataset.qkvScrolls;
      }
    });
  }

  document.addEventListener("DOMContentLoaded", markScrollable);
  window.addEventListener("resize", markScrollable);
  window.addEventListener("load", function () {
    markScrollable();
    // Formulas get their width when MathJax, if the page has it, is done.
    var startup = window.MathJax && window.MathJax.startup;
    if (startup && startup.promise) startup.promise.then(markScrollable);
  });
})();
