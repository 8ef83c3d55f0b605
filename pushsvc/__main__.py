from pushsvc.cli import main

main()
