"""Virtual machines: what `dibo boot` starts.

`machine.VirtualMachine` is a value that describes one, `arguments.qemu_arguments` turns it into QEMU's. `firmware` and
`accelerator` look for what is installed, `boot_image` reads what an image is for; `running.started` starts the machine,
`steps` carries out what a test asks of it: text on the console, commands over SSH, a picture of the screen.

Others use `machine`, `steps`, `running` and `running_table`.
"""
