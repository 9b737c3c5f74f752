//! The look of the report.

pub(super) const SHEET: &str = "
:root{color-scheme:light;--line:#d5d9e0;--ink:#1b2430;--soft:#5b6675}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:#fff;margin:0}
header,main{max-width:1200px;margin:0 auto;padding:1rem 1.5rem}
header{border-bottom:3px solid #24507a}
h1{margin:.2rem 0 .8rem;font-size:1.6rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
.counts{display:flex;flex-wrap:wrap;gap:.6rem;list-style:none;padding:0;margin:0 0 1rem}
.counts li{border:1px solid var(--line);border-left-width:6px;border-radius:4px;padding:.3rem .8rem}
.counts b{font-size:1.2rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:.88rem}
th,td{border-bottom:1px solid var(--line);padding:.35rem .5rem;text-align:left;vertical-align:top}
td.w{overflow-wrap:anywhere}
th{background:#f2f5f9;position:sticky;top:0;font-size:.8rem;vertical-align:bottom}td.n{text-align:right;font-variant-numeric:tabular-nums}
.answer{border-radius:3px;padding:0 .4rem;white-space:nowrap;border:1px solid}
.fail{color:#a4161a;border-color:#a4161a}.pass{color:#1d6b34;border-color:#1d6b34}
.could-not-check{color:#8a4b00;border-color:#8a4b00}.conflict{color:#6a1b9a;border-color:#6a1b9a}
.excepted{color:#24507a;border-color:#24507a}.not-applicable{color:#5b6675;border-color:#5b6675}
.answer.fail{background:#a4161a;color:#fff}.answer.could-not-check{background:#fff1dc}
.more,.soft{color:var(--soft)}code{font-size:.9em;overflow-wrap:anywhere}
ol.chain{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;list-style:none;padding:0;margin:.2rem 0}
ol.chain li+li::before{content:'\\2192';margin-right:.6rem;color:var(--soft)}
svg{max-width:100%;height:auto;border:1px solid var(--line);background:#fbfcfe}
svg text{font:11px system-ui,sans-serif;fill:#1b2430}svg .head{font-weight:600;fill:#5b6675}svg .sub{font-size:10px;fill:#5b6675}
svg rect{stroke:#24507a;fill:#fff}svg rect.account{fill:#dce9f7}svg rect.key,svg rect.key-version{fill:#fdf0cf}
svg rect.identity{fill:#e4f3e6}svg rect.vault{fill:#eee4f7}svg path{fill:none;stroke:#7b8794}svg path.declared{stroke-dasharray:4 3}
svg line{stroke:#d5d9e0}svg circle{stroke:#fff;fill:#24507a}svg circle.version-disabled,svg circle.expires{fill:#a4161a}
svg circle.used{fill:#1d6b34}svg circle.drill{fill:#6a1b9a}
@media print{header,main{max-width:none}th{position:static}}
";
