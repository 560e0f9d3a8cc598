package report

// style is the page's look. Every colour is a variable with a light and a dark value.
const style = `
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#16202c;--soft:#5d6b7b;--line:#e3e8ee;
--c1:#2f7ed8;--c2:#e08a1e;--c3:#7a5cc7;--good:#1f9d61;--bad:#d43f3a;--away:#c3ccd6;--warn:#e9b53c}
@media (prefers-color-scheme:dark){:root{--bg:#10151b;--card:#19212a;--ink:#e6ecf2;--soft:#93a2b3;--line:#2a3541;
--c1:#5aa2f0;--c2:#f0a646;--c3:#a48ae8;--good:#3cc285;--bad:#f0625d;--away:#43505e;--warn:#e9b53c}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
header{display:flex;justify-content:space-between;align-items:center;gap:20px;margin-bottom:18px}
h1{font-size:26px;line-height:1.2;margin:0}
h2{font-size:16px;margin:0 0 10px;display:flex;align-items:baseline;gap:10px;flex-wrap:wrap}
h2 small{color:var(--soft);font-weight:400;font-size:13px}
.sub{color:var(--soft);margin:4px 0 0}
.pill{margin:0;padding:6px 18px;border-radius:999px;color:#fff;font-weight:600;letter-spacing:.02em}
.held{background:var(--good)}.broken{background:var(--bad)}
.kpis{display:grid;grid-template-columns:repeat(4,1fr);gap:10px;margin-bottom:14px}
.kpis div,.card{background:var(--card);border:1px solid var(--line);border-radius:10px}
.kpis div{padding:12px 14px}.kpis b{display:block;font-size:20px;font-variant-numeric:tabular-nums}
.kpis span{color:var(--soft);font-size:13px}
.card{padding:16px 18px;margin-bottom:14px}
svg{display:block;width:100%;height:auto}
.legend{margin:0 0 0 auto;font-weight:400;font-size:13px;color:var(--soft);display:flex;gap:14px;flex-wrap:wrap}
p.legend{margin:10px 0 0}
.key i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;vertical-align:-1px}
i.c1,i.s-o{background:var(--c1)}i.c2{background:var(--c2)}i.c3{background:var(--c3)}i.bad,i.s-x{background:var(--bad)}
i.s-o{background:var(--good)}i.s-a{background:var(--away)}i.s-w{background:var(--warn)}
.grid{stroke:var(--line)}.tick{stroke:var(--soft)}.mark{stroke:var(--ink);stroke-dasharray:3 4;opacity:.45}
.axis{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}.inside{fill:var(--ink);font-size:12px}
.end{text-anchor:end}.middle{text-anchor:middle}
.band{fill:var(--bad);opacity:.09}.lane{fill:var(--line);opacity:.5}
.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.bad{--c:var(--bad)}
.stroke{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}
.area{fill:var(--c);opacity:.16}.solid{fill:var(--c)}.half{fill:var(--c);opacity:.45}.pale{fill:var(--c);opacity:.2}
.s-o{fill:var(--good)}.s-a{fill:var(--away)}.s-w{fill:var(--warn)}.s-x{fill:var(--bad)}
.slider{display:flex;gap:14px;align-items:center;margin:10px 0 0}.slider input{flex:1}
output{font-variant-numeric:tabular-nums;color:var(--soft)}
.checks{list-style:none;margin:0;padding:0}
.checks li{padding:5px 0 5px 26px;position:relative;border-top:1px solid var(--line)}.checks li:first-child{border-top:0}
.checks li::before{position:absolute;left:2px;font-weight:700}
.ok::before{content:"✓";color:var(--good)}.fail::before{content:"✗";color:var(--bad)}
code,.mono{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
code{display:block;color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:500}th,td{text-align:right;padding:5px 8px;border-top:1px solid var(--line);white-space:nowrap}
thead th{border-top:0}th:first-child,td:first-child{text-align:left}
@media (max-width:600px){.kpis{grid-template-columns:repeat(2,1fr)}header{align-items:flex-start}h1{font-size:21px}main{padding:16px 12px}}
`
