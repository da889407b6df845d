"""The report on an image: what is in it, where its space goes, who brought it, how long it took, what it starts.

    Inventory (dibo.contents) ── make_report ──► ReportedImage ──┬── document ──► JSON
                          build record (dibo.build.step_times)  └── page ──────► one HTML file

Others use `make_report`, `document.report_document` and `page.report_page`. Nothing is run: what starts and listens is
read from units and well-known configuration. Names and texts of an image are hostile: `markup` alone writes them into a
page, and `visible` first makes of each a text that cannot hide anything.
"""
