"""The look of the page: light, dark and on paper."""

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#59636e;--line:#d5dae0;--card:#f6f8fa;
--ref:#8c959f;--cur:#0a62c9;--bad:#c4232b;--warn:#9a6700;--good:#1a7f37;
--h0:#eef1f4;--h1:#fde8c8;--h2:#fbc98a;--h3:#f39c4a;--h4:#dd6020;--h5:#a92a12}
@media(prefers-color-scheme:dark){:root{--bg:#0f1318;--fg:#e6eaef;--dim:#98a2ad;--line:#333b44;--card:#181e25;
--ref:#6f7983;--cur:#5aa7ff;--bad:#ff6b6b;--warn:#e3b341;--good:#56d364;
--h0:#1f262e;--h1:#43341f;--h2:#6e4a1e;--h3:#a3641c;--h4:#d9761f;--h5:#ff9d5c}}
*{box-sizing:border-box}html{font-size:15px}
body{margin:0 auto;padding:1.5rem;max-width:1180px;background:var(--bg);color:var(--fg);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.05rem;color:var(--dim);font-weight:600;margin:1.6rem 0 .5rem}
h2{font-size:1.2rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
.headline{font-size:1.35rem;line-height:1.4;padding:1rem 1.2rem;background:var(--card);border-left:6px solid;
border-radius:4px;margin:0 0 .8rem}.headline b{color:var(--fg);font-weight:600}
header p{margin:.2rem 0;font-size:.9rem;color:var(--dim)}
header h1{margin-top:0}ul{padding-left:1.2rem;margin:.4rem 0 .8rem}
nav ul{display:flex;
flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0;margin:.6rem 0 1rem;font-size:.9rem}
a{color:var(--cur)}.info{color:var(--dim);font-weight:600}
.alarm{border-color:var(--bad)}.watch{border-color:var(--warn)}.note{border-color:var(--ref)}.calm{border-color:var(--good)}
.unknown{border-color:var(--dim)}.dim{color:var(--dim)}
.drift,.critical{color:var(--bad);font-weight:600}.ok{color:var(--good)}
.insufficient_data,.warning{color:var(--warn);font-weight:600}
table{border-collapse:collapse;margin:.4rem 0;font-variant-numeric:tabular-nums;max-width:100%}
th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:600;font-size:.85rem}th,td{overflow-wrap:normal}td.any{overflow-wrap:anywhere;min-width:6.5rem}
td.short,th,.wide td.n{white-space:nowrap}.stack th{white-space:normal}
.n{text-align:right}.when span{white-space:nowrap}
details{border:1px solid var(--line);border-radius:4px;margin:.4rem 0;padding:.4rem .8rem}
summary{cursor:pointer}summary b{margin-right:.6rem}
.charts{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem}figure{margin:.5rem 0}
figcaption{font-size:.85rem;color:var(--dim);max-width:530px}
.wide{overflow-x:auto}svg{display:block;max-width:100%;height:auto}.wide svg{max-width:none}
svg text{font-size:11px;fill:var(--dim)}svg .end{text-anchor:end}
polyline{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.now{stroke:var(--cur)}.band{stroke:var(--cur);stroke-width:1;opacity:.55}
.least{stroke:var(--bad);stroke-dasharray:2 4;stroke-width:1.5}
.limit{stroke:var(--ref);stroke-dasharray:5 4;stroke-width:1.5;fill:none}.axis{stroke:var(--line)}
circle{fill:var(--bad)}.ref{fill:var(--ref)}.cur{fill:var(--cur)}
.h0{fill:var(--h0)}.h1{fill:var(--h1)}.h2{fill:var(--h2)}.h3{fill:var(--h3)}.h4{fill:var(--h4)}.h5{fill:var(--h5)}
.d{stroke:var(--bad);stroke-width:1.5}.few{fill:url(#hatch)}#hatch path{stroke:var(--ref);stroke-width:1}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1rem;font-size:.85rem;color:var(--dim)}
.key svg{display:inline-block;vertical-align:-2px;margin-right:.3rem}
.pick{margin:.5rem 0}select{font:inherit;padding:.2rem}
@media(max-width:640px){body{padding:.8rem}.headline{font-size:1.15rem;padding:.7rem .9rem}
.stack table,.stack tbody,.stack tr,.stack td{display:block}.stack thead{display:none}
.stack tr{border-bottom:1px solid var(--line);padding:.5rem 0}
.stack td,.stack td.short{border:0;padding:.05rem 0;text-align:left;white-space:normal}
.stack td::before{content:attr(data-title) ": ";color:var(--dim);font-weight:400}
.stack td:empty{display:none}
.stack td.any{min-width:0}.stack td.any::before{display:block;content:attr(data-title)}}
@media(max-width:900px){.fit th,.fit td{padding-right:.55rem}
.fit td.n{white-space:normal}.fit span{white-space:nowrap}}
@media(max-width:640px){.wide td{white-space:nowrap}.spare{display:none}
.fit td,.fit td.n,.fit th{white-space:normal}.fit th,.fit td{padding-right:.4rem;font-size:.88rem}
.wide .heat{max-width:100%}.heat text{font-size:14px}
.line text,.quality text,.running text{font-size:16px}.bars text{font-size:13px}
.line,.quality,.running{overflow:visible}}
@media print{nav{display:none}html{font-size:10px}body{max-width:none;padding:0}
details,figure,table{break-inside:avoid}
.pick{display:none}.wide svg{max-width:100%}}
"""

# Without it the segments are a list of sections to open; with it one is chosen at a time.
SCRIPT = """
for(const box of document.querySelectorAll(".segments")){
const all=[...box.querySelectorAll(":scope>details")];if(all.length<2)continue;
const label=document.createElement("label"),list=document.createElement("select");
label.className="pick";label.textContent="Show ";label.append(list);
list.append(new Option("all segments",""));
all.forEach((one,i)=>list.append(new Option(one.querySelector("summary b").textContent,String(i))));
list.onchange=()=>all.forEach((one,i)=>{const mine=list.value===String(i);
one.hidden=list.value!==""&&!mine;one.open=mine});
box.prepend(label)}
addEventListener("beforeprint",()=>document.querySelectorAll("details.print").forEach(d=>d.open=true));
"""
