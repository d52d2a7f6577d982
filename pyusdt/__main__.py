from pyusdt.run import main

main()
