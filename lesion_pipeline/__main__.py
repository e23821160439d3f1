"""`python -m lesion_pipeline` is the command `lesion-pipeline`."""

from lesion_pipeline.cli import main

if __name__ == "__main__":
    main()
